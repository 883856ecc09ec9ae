//! A tree for the terminal.

use super::tree::Tree;
use crate::health::Level;

/// One line a node.
pub(super) fn draw(tree: &Tree) -> String {
    let mut text = format!("{}\n", label(tree));
    branches(&tree.children, "", &mut text);
    text
}

fn branches(children: &[Tree], before: &str, text: &mut String) {
    for (at, child) in children.iter().enumerate() {
        let last = at + 1 == children.len();
        let (branch, more) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        text.extend([before, branch, &label(child), "\n"]);
        branches(&child.children, &format!("{before}{more}"), text);
    }
}

fn label(tree: &Tree) -> String {
    let mut words = vec![tree.kind.as_str(), &tree.title];
    let lines = tree.lines.join(", ");
    let lines = if lines.is_empty() { lines } else { format!("({lines})") };
    words.push(&lines);
    words.push(match tree.level {
        Level::Ok => "",
        Level::Warn => "[!]",
        Level::Fail => "[!!]",
    });
    words.retain(|word| !word.is_empty());
    words.join(" ")
}
