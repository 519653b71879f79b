//! Test cases for the kernel `digest`, which divides a buffer into tiles of 256 words and hashes each. The last tile of
//! a buffer may be shorter. Its length differs between the test cases, from 1 word to 256.

use super::{Case, CaseSource};
use crate::kernels::digest;

pub(super) fn digest(source: &mut CaseSource) -> Vec<Case> {
    [1, 13, 14, 15, 16, 61, 62, 255, 256, 257, 1000, 65 * 256 + 46].map(|words| case(source, words)).into()
}

fn case(source: &mut CaseSource, words: usize) -> Case {
    let params = digest::Params { words: words as u32, ..Default::default() };
    let owned = words.div_ceil(digest::TILE) * 8;
    Case {
        kernel: &digest::KERNEL,
        label: format!("{words} words"),
        params: params.words(),
        inputs: vec![source.words(words), source.before_write(owned)],
    }
}
