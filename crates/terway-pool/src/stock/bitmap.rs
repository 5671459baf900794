//! Which offsets of a prefix are taken. It grows with the highest offset in use, so that a /80 of IPv6 with its
//! 65,536 usable addresses costs nothing until they are used.

/// A set of offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    taken: u32,
}

impl Bitmap {
    /// How many are taken.
    pub(crate) fn taken(&self) -> u32 {
        self.taken
    }

    /// Takes an offset; tells whether it was free.
    pub(crate) fn take(&mut self, offset: u16) -> bool {
        let (word, bit) = place(offset);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let free = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.taken += u32::from(free);
        free
    }

    /// Frees an offset; tells whether it was taken.
    pub(crate) fn free(&mut self, offset: u16) -> bool {
        let (word, bit) = place(offset);
        let taken = self.words.get(word).is_some_and(|bits| bits & bit != 0);
        if taken {
            self.words[word] &= !bit;
            self.taken -= 1;
        }
        taken
    }

    /// The first free offset below `size`, looking from `start` on and then from the beginning.
    pub(crate) fn next_free(&self, start: u16, size: u32) -> Option<u16> {
        self.free_between(u32::from(start), size).or_else(|| self.free_between(0, u32::from(start).min(size)))
    }

    fn free_between(&self, from: u32, to: u32) -> Option<u16> {
        let mut at = from;
        while at < to {
            let (word, _) = place(u16::try_from(at).ok()?);
            let ahead = self.words.get(word).copied().unwrap_or(0) >> (at % 64);
            let skip = ahead.trailing_ones();
            let left = 64 - at % 64;
            if skip < left {
                return u16::try_from(at + skip).ok().filter(|found| u32::from(*found) < to);
            }
            at += left;
        }
        None
    }
}

fn place(offset: u16) -> (usize, u64) {
    (usize::from(offset / 64), 1 << (offset % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offset_is_given_once_including_the_first_and_the_last() {
        for size in [1, 16, 64, 100, 65_536] {
            let mut bitmap = Bitmap::default();
            let mut given = Vec::new();
            while let Some(offset) = bitmap.next_free(7, size) {
                assert!(bitmap.take(offset), "{offset} twice");
                given.push(offset);
            }
            given.sort_unstable();
            assert!(given.into_iter().map(u32::from).eq(0..size), "{size}");
            assert_eq!(bitmap.taken(), size);
        }
    }

    #[test]
    fn it_looks_from_the_start_on_and_around() {
        let mut bitmap = Bitmap::default();
        for offset in [2, 3, 15] {
            assert!(bitmap.take(offset));
        }
        assert!(!bitmap.take(3));
        assert_eq!(bitmap.next_free(2, 16), Some(4));
        assert_eq!(bitmap.next_free(15, 16), Some(0));
        assert!(bitmap.free(3) && !bitmap.free(3) && !bitmap.free(9000));
        assert_eq!(bitmap.next_free(2, 16), Some(3));
        assert_eq!(bitmap.taken(), 2);
    }

    #[test]
    fn unused_space_costs_nothing() {
        let mut bitmap = Bitmap::default();
        bitmap.take(0);
        assert_eq!(bitmap.words.len(), 1);
    }
}
