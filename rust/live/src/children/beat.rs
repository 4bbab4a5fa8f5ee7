//! What a command says of its progress, line by line.

/// Bytes of a line that are read; the rest of it is ignored.
const LONGEST: usize = 4096;

/// A sign of life.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Beat {
    pub(super) percent: Option<f64>,
    pub(super) message: String,
}

impl Beat {
    fn read(line: &[u8]) -> Self {
        let text = String::from_utf8_lossy(line);
        let text = text.trim();
        let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        match percent(first) {
            Some(percent) => Self { percent: Some(percent), message: rest.trim_start().to_owned() },
            None => Self { percent: None, message: text.to_owned() },
        }
    }
}

/// A plain number from 0 to 100.
fn percent(word: &str) -> Option<f64> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    word.parse().ok().filter(|number| plain && (0.0..=100.0).contains(number))
}

/// Puts lines together.
#[derive(Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    /// Something of the present line has come, even if nothing of it is kept.
    begun: bool,
}

impl Lines {
    pub(super) fn add(&mut self, mut bytes: &[u8], beat: &mut dyn FnMut(Beat)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.keep(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.begun = true;
            self.end(beat);
        }
        self.keep(bytes);
    }

    /// The last line may lack its end.
    pub(super) fn end(&mut self, beat: &mut dyn FnMut(Beat)) {
        if std::mem::take(&mut self.begun) {
            beat(Beat::read(&std::mem::take(&mut self.line)));
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.begun |= !bytes.is_empty();
        let room = LONGEST - self.line.len();
        self.line.extend(&bytes[..bytes.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats(parts: &[&[u8]]) -> Vec<(Option<f64>, String)> {
        let (mut lines, mut beats) = (Lines::default(), Vec::new());
        let mut beat = |it: Beat| beats.push((it.percent, it.message));
        for part in parts {
            lines.add(part, &mut beat);
        }
        lines.end(&mut beat);
        beats
    }

    #[test]
    fn lines_are_signs_of_life() {
        let said = beats(&[b"\n40\n4", b"0.5 load", b"ing data\nhello\n", b"last"]);
        let expected =
            [(None, ""), (Some(40.0), ""), (Some(40.5), "loading data"), (None, "hello"), (None, "last")];
        assert_eq!(said, expected.map(|(percent, message)| (percent, message.to_owned())));
        assert_eq!(beats(&[]), []);
    }

    #[test]
    fn what_is_no_percentage_is_a_message() {
        for text in ["101 x", "-1", "nan", "inf", "1e1", ".", "40%"] {
            assert_eq!(beats(&[text.as_bytes()]), [(None, text.to_owned())]);
        }
        assert_eq!(beats(&[b"\xff\xfe\n"]), [(None, "\u{fffd}\u{fffd}".to_owned())]);
    }

    #[test]
    fn long_lines_are_cut() {
        let said = beats(&[&[b'x'; 3000], &[b'x'; 3000], b"y\nnext\n"]);
        assert_eq!(said, [(None, "x".repeat(LONGEST)), (None, "next".to_owned())]);
    }
}
