//! Passing over what a replay does not need.
//!
//! Owns the walk over one whole JSON value of any kind, checking its grammar and keeping nothing. Allocation traces are
//! trees of call frames and a hostile file may be anything, so a level of nesting costs a byte in a list with a limit,
//! never a stack frame.

use std::io::Read;

use super::error::ParseError;
use super::json::Json;

/// Levels of nesting accepted in parts of the file that are skipped.
pub const MAX_NESTING: usize = 1 << 20;

impl<R: Read> Json<R> {
    /// Passes over one whole value, however deep, checking only its grammar.
    pub(crate) fn skip_value(&mut self) -> Result<(), ParseError> {
        // The closing byte of each container that is open.
        let mut open: Vec<u8> = Vec::new();
        loop {
            // A value begins here.
            match self.peek_token()? {
                Some(opening @ (b'[' | b'{')) => {
                    if open.len() == MAX_NESTING {
                        return Err(ParseError::at(
                            self.offset(),
                            format!("at most {MAX_NESTING} levels of nesting"),
                            "another one",
                        ));
                    }
                    self.bump();
                    let closing = if opening == b'[' { b']' } else { b'}' };
                    if !self.take(closing)? {
                        open.push(closing);
                        if closing == b'}' {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => self.skip_string()?,
                Some(b'-' | b'0'..=b'9') => self.skip_number()?,
                Some(b't') => self.word("true")?,
                Some(b'f') => self.word("false")?,
                Some(b'n') => self.word("null")?,
                _ => return Err(self.unexpected("a value")),
            }
            // A value ended here; so may the containers around it.
            loop {
                let Some(&closing) = open.last() else {
                    return Ok(());
                };
                if self.more(closing)? {
                    if closing == b'}' {
                        self.skip_key()?;
                    }
                    break;
                }
                open.pop();
            }
        }
    }

    fn skip_key(&mut self) -> Result<(), ParseError> {
        if self.peek_token()? != Some(b'"') {
            return Err(self.unexpected("a key in quotes"));
        }
        self.skip_string()?;
        self.expect(b':', "`:` after a key")
    }

    fn skip_number(&mut self) -> Result<(), ParseError> {
        let mut digits = 0;
        while let Some(byte @ (b'+' | b'-' | b'.' | b'e' | b'E' | b'0'..=b'9')) = self.peek()? {
            digits += usize::from(byte.is_ascii_digit());
            self.bump();
        }
        if digits == 0 {
            return Err(self.unexpected("a digit"));
        }
        Ok(())
    }

    fn word(&mut self, word: &'static str) -> Result<(), ParseError> {
        for byte in word.bytes() {
            if self.peek()? != Some(byte) {
                return Err(self.unexpected(&format!("the rest of `{word}`")));
            }
            self.bump();
        }
        Ok(())
    }

    /// Passes over a string without keeping it.
    fn skip_string(&mut self) -> Result<(), ParseError> {
        self.expect(b'"', "a string")?;
        loop {
            match self.peek()? {
                None => return Err(self.unexpected("the closing `\"` of a string")),
                Some(b'"') => {
                    self.bump();
                    return Ok(());
                }
                Some(b'\\') => {
                    self.bump();
                    self.escape()?;
                }
                Some(0..=0x1f) => {
                    return Err(self.unexpected("a control character to be escaped in a string"));
                }
                Some(_) => self.bump(),
            }
        }
    }
}
