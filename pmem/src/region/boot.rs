//! Which boot of the kernel this is.

use std::io;
use std::path::Path;

/// Where the kernel tells.
pub(super) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The random number of this boot.
pub(super) fn boot_id(path: &Path) -> io::Result<[u8; 16]> {
    let text = std::fs::read_to_string(path)?;
    parse(text.trim())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the kernel's boot id is not a uuid"))
}

/// Reads 32 hexadecimal digits with hyphens among them. All zeros would say that there is none.
fn parse(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|character| *character != '-')
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let id: [u8; 16] = pairs.iter().map(|[high, low]| high << 4 | low).collect::<Vec<_>>().try_into().ok()?;
    (rest.is_empty() && id != [0; 16]).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_is_a_uuid_and_nothing_else() {
        let id = parse("00112233-4455-6677-8899-aabbccddeeff").unwrap();
        assert_eq!(id[..3], [0x00, 0x11, 0x22]);
        assert_eq!(id[15], 0xff);
        for bad in ["", "00", "00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddeefg"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(parse(&"0".repeat(32)), None);
    }

    #[test]
    fn the_kernel_has_one() {
        let path = Path::new(BOOT_ID);
        if path.exists() {
            assert_eq!(boot_id(path).unwrap(), boot_id(path).unwrap());
        }
    }
}
