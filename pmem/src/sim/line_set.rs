//! A set of lines that is emptied in constant time.

/// Line numbers, each at most once, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct LineSet {
    /// By line: the round in which it was last inserted.
    round_of: Vec<u32>,
    round: u32,
    list: Vec<u32>,
}

impl LineSet {
    pub(super) fn new(lines: usize) -> Self {
        LineSet { round_of: vec![0; lines], round: 1, list: Vec::new() }
    }

    pub(super) fn insert(&mut self, line: u32) {
        let round = &mut self.round_of[line as usize];
        if *round != self.round {
            *round = self.round;
            self.list.push(line);
        }
    }

    pub(super) fn as_slice(&self) -> &[u32] {
        &self.list
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.round_of.fill(0);
            self.round = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LineSet;

    #[test]
    fn each_line_is_listed_once_also_after_the_rounds_wrap() {
        let mut set = LineSet::new(4);
        set.round = u32::MAX;
        for line in [2, 0, 2, 2] {
            set.insert(line);
        }
        assert_eq!(set.as_slice(), [2, 0]);
        set.clear();
        assert!(set.as_slice().is_empty());
        set.insert(2);
        set.insert(3);
        assert_eq!(set.as_slice(), [2, 3]);
    }
}
