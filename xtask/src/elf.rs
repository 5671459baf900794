//! Just enough of the ELF format (64 bit, little endian) to tell a static program from one that needs a
//! loader on the machine it is installed on.

/// Program header type of the loader's path (`PT_INTERP`, elf(5)).
const PT_INTERP: u32 = 3;

/// Whether the program runs without a dynamic loader; `None` if this is no such ELF file.
pub(crate) fn is_static(image: &[u8]) -> Option<bool> {
    if image.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let start = usize::try_from(u64::from_le_bytes(bytes(image, 32)?)).ok()?;
    let size = usize::from(u16::from_le_bytes(bytes(image, 54)?));
    let count = usize::from(u16::from_le_bytes(bytes(image, 56)?));
    for number in 0..count {
        let kind = u32::from_le_bytes(bytes(image, start.checked_add(number * size)?)?);
        if kind == PT_INTERP {
            return Some(false);
        }
    }
    Some(true)
}

fn bytes<const N: usize>(image: &[u8], at: usize) -> Option<[u8; N]> {
    image.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with program headers of these types right behind it.
    fn image(kinds: &[u32]) -> Vec<u8> {
        let mut image = vec![0; 64];
        image[..6].copy_from_slice(b"\x7fELF\x02\x01");
        image[32] = 64;
        image[54] = 56;
        image[56] = u8::try_from(kinds.len()).unwrap();
        for kind in kinds {
            image.extend(kind.to_le_bytes());
            image.extend([0; 52]);
        }
        image
    }

    #[test]
    fn a_loader_makes_the_difference() {
        assert_eq!(is_static(&image(&[1, 2, 6])), Some(true));
        assert_eq!(is_static(&image(&[6, 3, 1])), Some(false));
    }

    #[test]
    fn what_is_no_elf_is_nothing() {
        assert_eq!(is_static(b"#!/bin/sh"), None);
        assert_eq!(is_static(&image(&[1])[..70]), Some(true));
        assert_eq!(is_static(&image(&[1])[..66]), None);
    }
}
