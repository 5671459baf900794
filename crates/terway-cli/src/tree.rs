//! Lists of `a/b/c: value` as indented trees; keys that share a beginning share its lines.

/// A node with children in the order of their first appearance.
#[derive(Default)]
pub(crate) struct Tree {
    children: Vec<(String, Tree)>,
    values: Vec<String>,
}

impl Tree {
    /// Adds a value under a key whose steps are parted by `/`.
    pub(crate) fn insert(&mut self, key: &str, value: &str) {
        let mut node = self;
        for step in key.split('/') {
            let at = node.children.iter().position(|(name, _)| name == step).unwrap_or_else(|| {
                node.children.push((step.to_owned(), Self::default()));
                node.children.len() - 1
            });
            node = &mut node.children[at].1;
        }
        node.values.push(value.to_owned());
    }

    /// The tree's lines, `depth` levels to the right.
    pub(crate) fn lines(&self, depth: usize) -> Vec<String> {
        let indent = "  ".repeat(depth);
        let mut lines = Vec::new();
        for (name, node) in &self.children {
            if node.values.is_empty() {
                lines.push(format!("{indent}{name}"));
            }
            lines.extend(node.values.iter().map(|value| format!("{indent}{name}: {value}")));
            lines.extend(node.lines(depth + 1));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn keys_share_their_beginnings() {
        let mut tree = Tree::default();
        for (key, value) in
            [("name", "default"), ("pods/a/x", "1"), ("pods/b", "2"), ("pods/a/y", "3"), ("pods/a/y", "4")]
        {
            tree.insert(key, value);
        }
        assert_snapshot!(tree.lines(0).join("\n"), @r"
        name: default
        pods
          a
            x: 1
            y: 3
            y: 4
          b: 2
        ");
    }
}
