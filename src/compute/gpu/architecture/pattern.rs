//! Patterns over the words of a GPU's name.
//!
//! A pattern is a few words that must follow each other in the name. In a word, `#` is a digit,
//! `[...]` one of the characters listed (`a-z` a range), and a final `*` any rest.

/// A name in lower case without trademark signs, split at everything but letters and digits.
pub(super) struct Words(Vec<String>);

/// Longest part of a name that is looked at, in characters: names come from foreign drivers.
const LONGEST: usize = 1024;

impl Words {
    pub(super) fn new(name: &str) -> Self {
        let mut lower: String = name.chars().take(LONGEST).flat_map(char::to_lowercase).collect();
        for sign in ["(tm)", "(r)", "(c)", "™", "®"] {
            lower = lower.replace(sign, " ");
        }
        Self(lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect())
    }

    /// Whether one of the patterns, which `|` separates, is in the name.
    pub(super) fn contain(&self, patterns: &str) -> bool {
        patterns.split('|').any(|pattern| {
            let wanted: Vec<&[u8]> = pattern.split_whitespace().map(str::as_bytes).collect();
            let here = |run: &[String]| run.iter().zip(&wanted).all(|(word, want)| fits(word.as_bytes(), want));
            !wanted.is_empty() && self.0.windows(wanted.len()).any(here)
        })
    }
}

fn fits(word: &[u8], pattern: &[u8]) -> bool {
    match pattern {
        [] => word.is_empty(),
        b"*" => true,
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|c| *c == b']') else { return false };
            word.split_first().is_some_and(|(c, tail)| in_set(*c, &rest[..end]) && fits(tail, &rest[end + 1..]))
        }
        [want, rest @ ..] => {
            let same = |c: u8| c == *want || (*want == b'#' && c.is_ascii_digit());
            word.split_first().is_some_and(|(c, tail)| same(*c) && fits(tail, rest))
        }
    }
}

fn in_set(c: u8, set: &[u8]) -> bool {
    set.contains(&c) || set.windows(3).any(|range| range[1] == b'-' && (range[0]..=range[2]).contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_each_other() {
        let words = Words::new("NVIDIA GeForce RTX(TM) 3070-Ti/PCIe");
        assert!(words.contain("rtx 30[5-9]0*"));
        assert!(words.contain("quadro | rtx 3070 ti"));
        assert!(!words.contain("rtx ti"));
        assert!(!words.contain("rtx 30[5-6]0*"));
        assert!(!words.contain("rtx 307"));
        assert!(!words.contain("rtx 3070#"));
        assert!(!words.contain("pcie sse2"));
        assert!(Words::new("a77 b").contain("a##"));
        assert!(!Words::new("").contain("a"));
    }
}
