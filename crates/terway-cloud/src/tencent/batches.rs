//! Lists of ids in the portions that a call takes; a portion that was refused for one of its ids comes again
//! in halves, until the id stands alone.

/// What is still to be asked for.
#[derive(Debug)]
pub(super) struct Batches<'a, T>(Vec<&'a [T]>);

impl<'a, T> Batches<'a, T> {
    pub(super) fn new(ids: &'a [T], size: usize) -> Self {
        Self(ids.chunks(size).rev().collect())
    }

    /// The next portion.
    pub(super) fn next(&mut self) -> Option<&'a [T]> {
        self.0.pop()
    }

    /// A portion was refused for one of its ids. One id alone is dropped.
    pub(super) fn halve(&mut self, refused: &'a [T]) {
        if refused.len() > 1 {
            let (first, second) = refused.split_at(refused.len() / 2);
            self.0.extend([second, first]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_one_is_found_and_left_out() {
        let ids: Vec<u32> = (0..10).collect();
        let mut batches = Batches::new(&ids, 4);
        let mut found: Vec<u32> = Vec::new();
        let mut calls = 0;
        while let Some(batch) = batches.next() {
            calls += 1;
            if batch.contains(&6) { batches.halve(batch) } else { found.extend(batch) }
        }
        assert_eq!(found, [0, 1, 2, 3, 4, 5, 7, 8, 9]);
        assert_eq!(calls, 7);
    }
}
