//! Header compression (RFC 7541). What is sent uses none of it but the static table; what is received may use all.

mod huffman;
mod table;

pub(crate) use table::Table;

/// A header block that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A header's name and value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// Appends a field that is in the static table as a whole.
pub(crate) fn push_known(block: &mut Vec<u8>, index: usize) {
    push_integer(block, 0x80, 7, index);
}

/// Appends a field whose name is in the static table.
pub(crate) fn push_named(block: &mut Vec<u8>, index: usize, value: &str) {
    push_integer(block, 0, 4, index);
    push_string(block, value);
}

/// Appends a field spelled out.
pub(crate) fn push_spelled(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    push_string(block, name);
    push_string(block, value);
}

fn push_string(block: &mut Vec<u8>, text: &str) {
    push_integer(block, 0, 7, text.len());
    block.extend(text.bytes());
}

/// An integer with a prefix of so many bits (RFC 7541, section 5.1).
fn push_integer(block: &mut Vec<u8>, pattern: u8, bits: u8, value: usize) {
    let most = (1_usize << bits) - 1;
    #[expect(clippy::cast_possible_truncation, reason = "each is below 256 where it is cast")]
    if value < most {
        block.push(pattern | value as u8);
    } else {
        block.push(pattern | most as u8);
        let mut rest = value - most;
        while rest >= 0x80 {
            block.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        block.push(rest as u8);
    }
}

/// Reads a header block, which may change the table for the blocks after it.
pub(crate) fn read(table: &mut Table, mut block: &[u8]) -> Result<Vec<Field>, Malformed> {
    let mut fields = Vec::new();
    while let Some(first) = block.first() {
        match first.leading_zeros() {
            0 => {
                let index = integer(&mut block, 7)?;
                fields.push(table.field(index)?);
            }
            1 => {
                let field = literal(table, &mut block, 6)?;
                table.add(field.clone());
                fields.push(field);
            }
            2 => table.resize(integer(&mut block, 5)?)?,
            _ => fields.push(literal(table, &mut block, 4)?),
        }
    }
    Ok(fields)
}

fn literal(table: &Table, block: &mut &[u8], bits: u8) -> Result<Field, Malformed> {
    let name = match integer(block, bits)? {
        0 => string(block)?,
        index => table.field(index)?.0,
    };
    Ok((name, string(block)?))
}

fn string(block: &mut &[u8]) -> Result<Vec<u8>, Malformed> {
    let coded = block.first().ok_or(Malformed)? & 0x80 != 0;
    let length = integer(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(Malformed)?;
    *block = rest;
    if coded { huffman::decode(text) } else { Ok(text.to_vec()) }
}

fn integer(block: &mut &[u8], bits: u8) -> Result<usize, Malformed> {
    let (first, mut rest) = block.split_first().ok_or(Malformed)?;
    let most = (1_usize << bits) - 1;
    let mut value = usize::from(*first) & most;
    if value == most {
        // Four more bytes count far beyond anything a header can hold.
        for shift in [0, 7, 14, 21] {
            let (byte, after) = rest.split_first().ok_or(Malformed)?;
            rest = after;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *block = rest;
                return Ok(value);
            }
        }
        return Err(Malformed);
    }
    *block = rest;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        digits
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    fn shown(fields: &[Field]) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
    }

    /// RFC 7541, appendix C.6: three responses over one connection with a table of 256 bytes, Huffman coded.
    #[test]
    fn the_responses_of_the_rfc_are_read() {
        let mut table = Table::of(256);
        let first = hex(
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        );
        let date = "date: Mon, 21 Oct 2013 20:13:21 GMT";
        let there = "location: https://www.example.com";
        assert_eq!(
            shown(&read(&mut table, &first).unwrap()),
            [":status: 302", "cache-control: private", date, there]
        );
        assert_eq!(
            shown(&read(&mut table, &hex("4883 640e ffc1 c0bf")).unwrap()),
            [":status: 307", "cache-control: private", date, there],
            "out of the table, from which the first status had to go"
        );
        let third = hex(
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        );
        let all = shown(&read(&mut table, &third).unwrap());
        assert_eq!(all[4], "content-encoding: gzip");
        assert_eq!(all[5], "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");
    }

    #[test]
    fn what_is_written_is_read() {
        let mut block = Vec::new();
        push_known(&mut block, 3);
        push_named(&mut block, 4, "/rpc.TerwayBackend/AllocIP");
        push_named(&mut block, 31, "application/grpc");
        push_spelled(&mut block, "x", &"y".repeat(300));
        let fields = read(&mut Table::default(), &block).unwrap();
        let long = format!("x: {}", "y".repeat(300));
        assert_eq!(
            shown(&fields),
            [":method: POST", ":path: /rpc.TerwayBackend/AllocIP", "content-type: application/grpc", &long]
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for block in [
            "80",             // index 0
            "be",             // beyond both tables
            "ffffffffffffff", // a number without end
            "0005 61",        // a name cut short
            "3fe1ff03",       // a table larger than it was allowed
            "0081 00 00",     // padding that is none
        ] {
            assert_eq!(read(&mut Table::default(), &hex(block)), Err(Malformed), "{block}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(block in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&mut Table::default(), &block);
        }
    }
}
