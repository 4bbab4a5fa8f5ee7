//! Durations and sizes as people write them.

/// Parses a duration such as `1h30m`, `250ms` or `2.5s` into microseconds.
///
/// Units are `us`, `ms`, `s`, `m`, `h`, `d`; parts are summed. A number without a unit is
/// refused, because nobody can tell what it means.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let help = "write it like 250ms, 5m or 1h30m (units us, ms, s, m, h, d)";
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(format!("an empty duration; {help}"));
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits]
            .parse()
            .map_err(|_| format!("{rest:?} in duration {text:?} does not start with a number; {help}"))?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let scale = match &rest[..letters] {
            "us" => 1e0,
            "ms" => 1e3,
            "s" => 1e6,
            "m" => 6e7,
            "h" => 3.6e9,
            "d" => 8.64e10,
            "" => return Err(format!("duration {text:?} ends in a number without a unit; {help}")),
            unit => return Err(format!("unknown unit {unit:?} in duration {text:?}; {help}")),
        };
        total += number * scale;
        rest = rest[letters..].trim_start();
    }
    seconds_to_micros(total / 1e6)
}

/// Seconds to microseconds, refusing what is negative, not finite or longer than 10,000 years.
pub fn seconds_to_micros(seconds: f64) -> Result<i64, String> {
    if seconds.is_finite() && (0.0..=3.2e11).contains(&seconds) {
        // Only 0 is nothing: as a limit it means that there is none.
        Ok(((seconds * 1e6).round() as i64).max(i64::from(seconds > 0.0)))
    } else {
        Err(format!("{seconds} seconds is not a duration; give a finite number that is not negative"))
    }
}

/// Parses a size such as `2GiB` or `500 MB` into bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let help = "write it like 512MiB or 2GB";
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 =
        text[..digits].parse().map_err(|_| format!("size {text:?} does not start with a number; {help}"))?;
    let scale: f64 = match text[digits..].trim() {
        "" | "B" => 1.0,
        "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" => 1024.0,
        "MiB" => 1048576.0,
        "GiB" => 1073741824.0,
        "TiB" => 1099511627776.0,
        unit => return Err(format!("unknown unit {unit:?} in size {text:?}; {help}")),
    };
    let bytes = number * scale;
    if bytes.is_finite() && bytes <= 9e18 {
        Ok(bytes as u64)
    } else {
        Err(format!("size {text:?} is too large; {help}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Req: P8.68
    #[test]
    fn durations_sum_their_parts_and_bad_text_is_refused() {
        assert_eq!(parse_duration("1h30m"), Ok(5_400_000_000));
        assert_eq!(parse_duration(" 250ms "), Ok(250_000));
        assert_eq!(parse_duration("1d 2s"), Ok(86_402_000_000));
        assert_eq!(parse_duration("1.5s"), Ok(1_500_000));
        assert_eq!((parse_duration("0.1us"), parse_duration("0s")), (Ok(1), Ok(0)));
        for bad in ["", "5", "m", "5x", "1h30", "-1s", "1..2s", "999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        assert_eq!(parse_size("1.5 KB"), Ok(1500));
        assert!(parse_size("2 XB").is_err());
        assert!(parse_size("GiB").is_err());
    }
}
