//! JSON as a stream of bytes.
//!
//! Owns the position in the text and the smallest steps over it: punctuation, an unsigned integer, a string.
//! Nothing here knows what a dump is. A dump is one line of up to gigabytes, nearly all of it integers, so no tree is
//! built and no token is stored: the caller asks for what must come next and gets it or an error that names the byte.

use std::io::Read;

use super::error::ParseError;
use super::utf16::Units;

/// Bytes taken from the reader at a time.
const BUFFER: usize = 64 * 1024;

/// A cursor over JSON text.
pub(crate) struct Json<R> {
    reader: R,
    buffer: Box<[u8]>,
    /// The next byte in `buffer`.
    next: usize,
    /// Bytes of `buffer` that hold text.
    filled: usize,
    /// Offset in the text of `buffer[0]`.
    base: u64,
    /// The string being read.
    scratch: Vec<u8>,
}

impl<R: Read> Json<R> {
    /// A cursor before the first byte of `reader`.
    pub(crate) fn new(reader: R) -> Self {
        Json { reader, buffer: vec![0; BUFFER].into_boxed_slice(), next: 0, filled: 0, base: 0, scratch: Vec::new() }
    }

    /// Offset of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.next as u64
    }

    /// The next byte, without taking it; `None` at the end of the text.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<Option<u8>, ParseError> {
        if self.next == self.filled {
            self.refill()?;
        }
        Ok(self.buffer[..self.filled].get(self.next).copied())
    }

    /// Goes past the byte that `peek` has shown.
    #[inline]
    pub(super) fn bump(&mut self) {
        self.next += 1;
    }

    #[cold]
    fn refill(&mut self) -> Result<(), ParseError> {
        self.base += self.filled as u64;
        self.next = 0;
        self.filled = 0;
        loop {
            match self.reader.read(&mut self.buffer) {
                Ok(read) => {
                    self.filled = read;
                    return Ok(());
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(ParseError::Unreadable { byte: self.base, source });
                }
            }
        }
    }

    /// The error for something else than `expected` at the cursor.
    #[cold]
    pub(crate) fn unexpected(&mut self, expected: &str) -> ParseError {
        let offset = self.offset();
        match self.peek() {
            Ok(None) => ParseError::at(offset, expected, "the end of the file"),
            Ok(Some(byte)) => ParseError::at(offset, expected, describe(byte)),
            Err(unreadable) => unreadable,
        }
    }

    /// The next byte that isn't white space, without taking it.
    #[inline]
    pub(crate) fn peek_token(&mut self) -> Result<Option<u8>, ParseError> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.next += 1,
                other => return Ok(other),
            }
        }
    }

    /// Takes `punctuation` after any white space, or fails with `expected`.
    #[inline]
    pub(crate) fn expect(&mut self, punctuation: u8, expected: &str) -> Result<(), ParseError> {
        if self.take(punctuation)? { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    /// Takes `punctuation` after any white space, if it is there.
    #[inline]
    pub(crate) fn take(&mut self, punctuation: u8) -> Result<bool, ParseError> {
        let there = self.peek_token()? == Some(punctuation);
        self.next += usize::from(there);
        Ok(there)
    }

    /// A comma (true) or the closing `end` (false); anything else is an error.
    #[inline]
    pub(crate) fn more(&mut self, end: u8) -> Result<bool, ParseError> {
        match self.peek_token()? {
            Some(b',') => {
                self.next += 1;
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.next += 1;
                Ok(false)
            }
            _ => Err(self.unexpected(if end == b']' { "`,` or `]`" } else { "`,` or `}`" })),
        }
    }

    /// Nothing but white space up to the end of the text.
    pub(crate) fn expect_end(&mut self) -> Result<(), ParseError> {
        match self.peek_token()? {
            None => Ok(()),
            Some(_) => Err(self.unexpected("the end of the file after the closing `}`")),
        }
    }

    /// An unsigned integer that fits 64 bits, written without sign, fraction or exponent.
    #[inline]
    pub(crate) fn unsigned(&mut self, expected: &str) -> Result<u64, ParseError> {
        let Some(first @ b'0'..=b'9') = self.peek_token()? else {
            return Err(self.unexpected(expected));
        };
        let start = self.offset();
        self.next += 1;
        let mut value = u64::from(first - b'0');
        loop {
            match self.peek()? {
                Some(digit @ b'0'..=b'9') => {
                    self.next += 1;
                    value = value
                        .checked_mul(10)
                        .and_then(|tens| tens.checked_add(u64::from(digit - b'0')))
                        .ok_or_else(|| ParseError::at(start, expected, "an integer of more than 64 bits"))?;
                }
                Some(b'.' | b'e' | b'E') => {
                    return Err(ParseError::at(start, expected, "a number with a fraction or an exponent"));
                }
                _ => return Ok(value),
            }
        }
    }

    /// A string of at most `limit` bytes, appended to `out` as UTF-8. A lone surrogate, which the writers of dumps
    /// produce for text outside the basic plane, becomes U+FFFD.
    pub(crate) fn string(&mut self, out: &mut String, limit: usize, expected: &str) -> Result<(), ParseError> {
        self.expect(b'"', expected)?;
        let start = self.offset();
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        let mut units = Units::default();
        loop {
            let Some(byte) = self.peek()? else {
                return Err(self.unexpected("the closing `\"` of a string"));
            };
            self.next += 1;
            if byte == b'\\' {
                let unit = self.escape()?;
                units.push(unit, &mut bytes);
            } else {
                units.end(&mut bytes);
                match byte {
                    b'"' => break,
                    0..=0x1f => {
                        self.next -= 1;
                        return Err(self.unexpected("a control character to be escaped in a string"));
                    }
                    _ => bytes.push(byte),
                }
            }
            if bytes.len() > limit {
                return Err(ParseError::at(start, format!("a string of at most {limit} bytes"), "a longer one"));
            }
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => out.push_str(text),
            Err(_) => {
                return Err(ParseError::at(start, "text in UTF-8", "a string with other bytes"));
            }
        }
        self.scratch = bytes;
        Ok(())
    }

    /// What follows a backslash, as a UTF-16 code unit.
    pub(super) fn escape(&mut self) -> Result<u16, ParseError> {
        let Some(byte) = self.peek()? else {
            return Err(self.unexpected("an escape after `\\`"));
        };
        let unit = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.next += 1;
                let mut unit = 0;
                for _ in 0..4 {
                    let digit = self.peek()?.and_then(|digit| char::from(digit).to_digit(16));
                    let Some(digit) = digit else {
                        return Err(self.unexpected("four hexadecimal digits after `\\u`"));
                    };
                    self.next += 1;
                    unit = unit << 4 | digit as u16;
                }
                return Ok(unit);
            }
            _ => return Err(self.unexpected("one of `\"\\/bfnrtu` after `\\`")),
        };
        self.next += 1;
        Ok(u16::from(unit))
    }
}

/// A byte as an error message shows it.
pub(crate) fn describe(byte: u8) -> String {
    match byte {
        b'"' => "a string".to_owned(),
        b'0'..=b'9' => "a number".to_owned(),
        b'!'..=b'~' => format!("`{}`", char::from(byte)),
        _ => format!("the byte 0x{byte:02x}"),
    }
}
