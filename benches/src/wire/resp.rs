//! Answers of Redis: RESP version 2, as far as the benchmark meets it.

use anyhow::{Context as _, bail};

/// The first answer of `bytes` and how many bytes it takes, if it is all there. An error is an error.
pub(super) fn next_answer(bytes: &[u8]) -> anyhow::Result<Option<(&[u8], usize)>> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let (line, used) = (&bytes[..end], end + 2);
    match line.split_first() {
        Some((b'+' | b':', text)) => Ok(Some((text, used))),
        Some((b'$', length)) => {
            let length: usize =
                std::str::from_utf8(length)?.parse().context("a bulk string that is not there")?;
            let Some(rest) = bytes.get(used..used + length + 2) else { return Ok(None) };
            Ok(Some((&rest[..length], used + length + 2)))
        }
        _ => bail!("Redis answers {}", String::from_utf8_lossy(line)),
    }
}

/// Appends a command.
pub(super) fn command(parts: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_when_they_are_all_there() {
        assert_eq!(next_answer(b"+OK\r\n+").unwrap(), Some((&b"OK"[..], 5)));
        assert_eq!(next_answer(b"$3\r\na\r\n\r\n").unwrap(), Some((&b"a\r\n"[..], 9)));
        for end in 0..8 {
            assert_eq!(next_answer(&b"$3\r\nabc\r\n"[..end]).unwrap(), None);
        }
        next_answer(b"-ERR no\r\n").unwrap_err();
        next_answer(b"$-1\r\n").unwrap_err();
    }
}
