//! The Huffman code of header strings (RFC 7541, appendix B). Codes of one length follow each other in the order of
//! their symbols, and shorter ones come before longer ones: the lengths say it all.

use super::Malformed;

/// The longest code has so many bits.
const LONGEST: usize = 30;
/// The symbol that ends a string and never occurs in one.
const END: u16 = 256;

/// Bits of the code of every byte, and of the end.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The codes of one length.
#[derive(Clone, Copy)]
struct Codes {
    /// The first of them.
    first: u32,
    /// How many there are.
    count: u32,
    /// Where their symbols begin in [`SYMBOLS`].
    symbols: u32,
}

const CODES: [Codes; LONGEST + 1] = codes();
const SYMBOLS: [u16; 257] = symbols();

const fn codes() -> [Codes; LONGEST + 1] {
    let mut all = [Codes { first: 0, count: 0, symbols: 0 }; LONGEST + 1];
    let (mut length, mut first, mut symbols) = (1, 0, 0);
    while length <= LONGEST {
        first <<= 1;
        let (mut at, mut count) = (0, 0);
        while at < LENGTHS.len() {
            if LENGTHS[at] as usize == length {
                count += 1;
            }
            at += 1;
        }
        all[length] = Codes { first, count, symbols };
        first += count;
        symbols += count;
        length += 1;
    }
    all
}

const fn symbols() -> [u16; 257] {
    let mut all = [0; 257];
    let (mut length, mut next) = (1, 0);
    while length <= LONGEST {
        let mut symbol: u16 = 0;
        while (symbol as usize) < LENGTHS.len() {
            if LENGTHS[symbol as usize] as usize == length {
                all[next] = symbol;
                next += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    all
}

/// The bytes a coded string stands for.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut bytes = Vec::with_capacity(text.len() * 8 / 5);
    let (mut code, mut length) = (0_u32, 0_usize);
    for bit in text.iter().flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1))) {
        code = code << 1 | bit;
        length += 1;
        let codes = CODES.get(length).ok_or(Malformed)?;
        let place = code.wrapping_sub(codes.first);
        if place < codes.count {
            let symbol = SYMBOLS.get((codes.symbols + place) as usize).copied().unwrap_or(END);
            bytes.push(u8::try_from(symbol).map_err(|_| Malformed)?);
            (code, length) = (0, 0);
        }
    }
    // The last byte is filled up with ones, the beginning of the end's code.
    if length < 8 && code == (1 << length) - 1 { Ok(bytes) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte by its code, which the RFC lists: here from the lengths alone.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for byte in text {
            let length = usize::from(LENGTHS[usize::from(*byte)]);
            let codes = CODES[length];
            let symbols = &SYMBOLS[codes.symbols as usize..];
            let place = symbols.iter().position(|symbol| *symbol == u16::from(*byte)).unwrap();
            let code = codes.first + u32::try_from(place).unwrap();
            bits.extend((0..length).rev().map(|at| code >> at & 1 == 1));
        }
        bits.resize(bits.len().next_multiple_of(8), true);
        let byte = |bits: &[bool]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        bits.chunks(8).map(byte).collect()
    }

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Ok(all));
    }

    /// RFC 7541, appendix C.4.1, and the codes it gives for the ends of the table.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let coded = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decode(&coded), Ok(b"www.example.com".to_vec()));
        assert_eq!(CODES[5].first, 0, "the code of 0 is five zeros");
        assert_eq!(CODES[30].first + CODES[30].count - 1, 0x3fff_ffff, "the end is thirty ones");
    }

    #[test]
    fn the_end_and_long_padding_are_refused() {
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), Err(Malformed), "the end");
        assert_eq!(decode(&[0x07, 0xff]), Err(Malformed), "eleven bits of padding");
        assert_eq!(decode(&[0b0000_0000]), Err(Malformed), "padding of zeros");
    }
}
