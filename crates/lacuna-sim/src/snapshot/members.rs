//! Objects and short lists.
//!
//! Owns the reading of a JSON object key by key and of lists that have no business being long. Both are limited, in
//! entries and in the bytes of a name, because nothing true needs more.

use std::io::Read;

use super::error::ParseError;
use super::json::Json;

/// Bytes accepted in a key or the name of a field or type.
pub(super) const MAX_NAME: usize = 1024;

/// An array of at most `limit` strings.
pub(super) fn read_names<R: Read>(json: &mut Json<R>, limit: usize) -> Result<Vec<String>, ParseError> {
    let mut names = Vec::new();
    read_array(json, limit, |json| {
        let mut name = String::new();
        json.string(&mut name, MAX_NAME, "a name in quotes")?;
        names.push(name);
        Ok(())
    })?;
    Ok(names)
}

/// An array of at most `limit` entries, each read by `entry`.
pub(super) fn read_array<R: Read>(
    json: &mut Json<R>,
    limit: usize,
    mut entry: impl FnMut(&mut Json<R>) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    json.expect(b'[', "a list")?;
    if json.take(b']')? {
        return Ok(());
    }
    for _ in 0..limit {
        entry(json)?;
        if !json.more(b']')? {
            return Ok(());
        }
    }
    Err(ParseError::at(json.offset(), format!("a list of at most {limit} entries"), "more"))
}

/// An object; `member` is called after each key and reads the value.
pub(super) fn read_object<R: Read>(
    json: &mut Json<R>,
    expected: &str,
    mut member: impl FnMut(&mut Json<R>, &str) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    json.expect(b'{', expected)?;
    if json.take(b'}')? {
        return Ok(());
    }
    let mut key = String::new();
    loop {
        key.clear();
        json.string(&mut key, MAX_NAME, "a key in quotes")?;
        json.expect(b':', "`:` after a key")?;
        member(json, &key)?;
        if !json.more(b'}')? {
            return Ok(());
        }
    }
}

/// Fills `slot` with what `read` reads; a key that came before is an error.
pub(super) fn once<R: Read, T>(
    json: &mut Json<R>,
    key: &str,
    slot: &mut Option<T>,
    read: impl FnOnce(&mut Json<R>) -> Result<T, ParseError>,
) -> Result<(), ParseError> {
    if slot.is_some() {
        return Err(ParseError::at(json.offset(), format!("the key `{key}` once"), "it a second time"));
    }
    *slot = Some(read(json)?);
    Ok(())
}
