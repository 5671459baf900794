//! How many ENIs stand where. Kept up to date with every change, so that decisions cost the same for ten
//! ENIs and for a thousand.

use std::fmt;

/// Where an ENI stands, as far as supply and demand care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// Being created or attached.
    Coming,
    /// Attached; its netdev is awaited.
    Linking,
    /// Can be given at once.
    Idle,
    /// Serves addresses to several attachments.
    Sharing,
    /// Idle, but not as it should be in the cloud: not given before the next look.
    Suspect,
    /// Held by an attachment.
    Held,
    /// In quarantine, back soon by itself.
    Resting,
    /// In quarantine, and its netdev did not come home in time.
    Strayed,
    /// Being detached or deleted, or its creation is being given up.
    Leaving,
    /// Detached and kept for its claim: not on the node, so it takes nobody's place.
    Kept,
}

/// The numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) coming: u32,
    pub(crate) linking: u32,
    pub(crate) idle: u32,
    pub(crate) sharing: u32,
    pub(crate) suspect: u32,
    pub(crate) held: u32,
    pub(crate) resting: u32,
    pub(crate) strayed: u32,
    pub(crate) leaving: u32,
    pub(crate) kept: u32,
}

impl Tally {
    fn of(&mut self, stand: Stand) -> &mut u32 {
        match stand {
            Stand::Coming => &mut self.coming,
            Stand::Linking => &mut self.linking,
            Stand::Idle => &mut self.idle,
            Stand::Sharing => &mut self.sharing,
            Stand::Suspect => &mut self.suspect,
            Stand::Held => &mut self.held,
            Stand::Resting => &mut self.resting,
            Stand::Strayed => &mut self.strayed,
            Stand::Leaving => &mut self.leaving,
            Stand::Kept => &mut self.kept,
        }
    }

    pub(crate) fn add(&mut self, stand: Stand) {
        *self.of(stand) += 1;
    }

    pub(crate) fn remove(&mut self, stand: Stand) {
        *self.of(stand) -= 1;
    }

    /// Those that are attached and free to serve, at once or soon.
    pub(crate) fn spare(&self) -> u32 {
        self.idle + self.suspect + self.linking + self.resting
    }

    /// All ENIs of ours that take a place on the node, or may.
    pub(crate) fn total(&self) -> u32 {
        let here = self.idle + self.suspect + self.sharing + self.held;
        self.coming + self.linking + here + self.resting + self.strayed + self.leaving
    }
}

impl fmt::Display for Tally {
    /// `3 in use, 1 in quarantine`: what there is, without zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.held, "in use"),
            (self.idle, "idle"),
            (self.sharing, "shared"),
            (self.coming, "being created or attached"),
            (self.linking, "waiting for their netdev"),
            (self.suspect, "that the cloud does not show as they should be"),
            (self.resting, "in quarantine"),
            (self.strayed, "with a netdev that did not come home"),
            (self.leaving, "being removed"),
            (self.kept, "kept for a claim"),
        ];
        let mut present = parts.iter().filter(|(count, _)| *count > 0);
        let Some((count, what)) = present.next() else { return f.write_str("none") };
        write!(f, "{count} {what}")?;
        present.try_for_each(|(count, what)| write!(f, ", {count} {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_and_says_what_there_is() {
        let mut tally = Tally::default();
        assert_eq!(tally.to_string(), "none");
        for stand in [Stand::Held, Stand::Held, Stand::Strayed, Stand::Coming] {
            tally.add(stand);
        }
        tally.remove(Stand::Coming);
        assert_eq!(tally.to_string(), "2 in use, 1 with a netdev that did not come home");
        assert_eq!(tally.total(), 3);
    }
}
