//! Test cases for `loss_sum`, which adds the losses of all tokens. In some test cases, the number of tokens is smaller
//! than the number of invocations in a GPU workgroup; in others, it is larger.

use super::{Case, CaseSource};
use crate::kernels::{cross_entropy::dlogits_words, loss_sum};

/// A function that returns a word for a test case: a random word, or always the same one.
type DrawWord = fn(&mut CaseSource) -> u32;

pub(super) fn loss_sum(source: &mut CaseSource) -> Vec<Case> {
    let shapes = [(0, 5), (1, 1), (63, 37), (65, 2), (200, 64)];
    let kinds: [(&str, DrawWord); 3] = [("random", CaseSource::word), ("carry", |_| !0), ("zero", |_| 0)];
    let each = shapes.into_iter().flat_map(|shape| kinds.map(|kind| (shape, kind)));
    let case = |((tokens, vocab), (label, word)): ((u32, u32), (&str, DrawWord))| Case {
        kernel: &loss_sum::KERNEL,
        label: format!("{tokens} tokens, {vocab} token IDs, {label}"),
        params: loss_sum::Params { tokens, vocab, ..Default::default() }.words(),
        inputs: vec![
            (0..(tokens as usize * dlogits_words(vocab as usize)).max(1)).map(|_| word(source)).collect(),
            source.before_write(2),
        ],
    };
    each.map(case).collect()
}
