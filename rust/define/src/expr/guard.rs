//! What is checked before the parser sees an expression: a parser's stack overflow would end
//! the process, and no error handling survives that.

const MAX_BYTES: usize = 4096;
const MAX_DEPTH: usize = 32;

pub(super) fn check(source: &str) -> Result<(), String> {
    if source.len() > MAX_BYTES {
        let start: String = source.chars().take(40).collect();
        return Err(format!(
            "the expression {start:?}… has {} bytes; at most {MAX_BYTES} are allowed: compute it in a task",
            source.len()
        ));
    }
    let too_deep = |at: usize| {
        Err(format!("{source:?} nests deeper than {MAX_DEPTH} levels at byte {at}: compute it in a task"))
    };
    let (mut depth, mut prefixes, mut ternaries) = (0usize, 0usize, 0usize);
    let mut quote = None;
    let mut escaped = false;
    for (at, byte) in source.bytes().enumerate() {
        if let Some(end) = quote {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                _ if byte == end => quote = None,
                _ => {}
            }
            continue;
        }
        prefixes =
            if matches!(byte, b'!' | b'-') { prefixes + 1 } else { prefixes * usize::from(byte == b' ') };
        match byte {
            b'"' | b'\'' => quote = Some(byte),
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'?' => ternaries += 1,
            _ => {}
        }
        if depth + prefixes + ternaries > MAX_DEPTH {
            return too_deep(at);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Expr;
    use proptest::prelude::*;

    #[test]
    fn depth_and_length_are_bounded() {
        assert!(check(&format!("{}1{}", "(".repeat(32), ")".repeat(32))).is_ok());
        assert!(check(&format!("{}1{}", "(".repeat(33), ")".repeat(33))).unwrap_err().contains("deeper"));
        assert!(check(&"!".repeat(33)).is_err());
        assert!(check(&"a?".repeat(33)).is_err());
        assert!(check(&"1+".repeat(2049)).unwrap_err().contains("4098 bytes"));
        assert!(check(&format!("'{}'", "(".repeat(100))).is_ok(), "text in quotes does not nest");
    }

    /// The longest chains that the guard lets through are survived on a small stack.
    #[test]
    fn long_chains_do_not_overflow_the_stack() {
        let chain = |part: &str| part.repeat(4000 / part.len());
        let sources = [
            chain("1+") + "1",
            chain("a||") + "a",
            chain("a&&") + "a",
            chain("a.b.") + "c",
            chain("a<") + "a",
        ];
        std::thread::Builder::new()
            .stack_size(2 << 20)
            .spawn(move || sources.iter().for_each(|source| drop(Expr::parse(source))))
            .unwrap()
            .join()
            .unwrap();
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(source in "[-a-c0-9 .,:?!&|<>=+*/%'\"\\\\(){}\\[\\]]{0,80}") {
            let _ = Expr::parse(&source);
        }
    }
}
