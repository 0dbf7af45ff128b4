//! From the UTF-16 code units of JSON's `\u` escapes to UTF-8.
//!
//! Owns the pairing of surrogates. Writers of dumps cut text outside of the basic plane in halves, so one without its
//! partner is no error: it becomes U+FFFD.

/// A sequence of code units, to be ended by [`Units::end`].
#[derive(Default)]
pub(super) struct Units {
    /// A high surrogate that waits for its second half.
    pending: Option<u16>,
}

impl Units {
    /// Appends `unit` to `bytes`, or keeps it until its partner comes.
    pub(super) fn push(&mut self, unit: u16, bytes: &mut Vec<u8>) {
        match unit {
            0xd800..=0xdbff => {
                self.end(bytes);
                self.pending = Some(unit);
            }
            0xdc00..=0xdfff => {
                let char = self.pending.take().and_then(|high| {
                    let high = u32::from(high) - 0xd800;
                    let low = u32::from(unit) - 0xdc00;
                    char::from_u32(0x10000 + (high << 10) + low)
                });
                append(char, bytes);
            }
            _ => {
                self.end(bytes);
                append(char::from_u32(u32::from(unit)), bytes);
            }
        }
    }

    /// No unit follows immediately; one that waits has no partner.
    #[inline]
    pub(super) fn end(&mut self, bytes: &mut Vec<u8>) {
        if self.pending.take().is_some() {
            append(None, bytes);
        }
    }
}

fn append(char: Option<char>, bytes: &mut Vec<u8>) {
    let char = char.unwrap_or(char::REPLACEMENT_CHARACTER);
    bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}
