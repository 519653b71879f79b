//! Test cases for the attention kernel and its two gradient kernels. A gradient kernel reads softmax statistics, which
//! earlier kernels of a training step have computed. A test case obtains these statistics by running the reference
//! implementations of the earlier kernels.

use super::{Case, CaseSource, run_reference};
use crate::{
    kernels::{
        INFO,
        attention::{self, MAX_CONTEXT, STATS},
        attention_backward_key, attention_backward_query,
        shared::heads::{head_words, put},
    },
    numbers::{
        fixed::{Scale, round_even_u64},
        tables::{exp2_table, log2_table},
    },
};

/// The sizes of a test case: `sequences` sequences of `context` tokens each. A token has `kv_heads` key/value heads and
/// `kv_heads · group` query heads, of `head_dim` features each.
#[derive(Clone, Copy)]
struct AttentionShape {
    sequences: usize,
    context: usize,
    kv_heads: usize,
    group: usize,
    head_dim: usize,
}

impl AttentionShape {
    const fn new(sequences: usize, context: usize, kv_heads: usize, group: usize, head_dim: usize) -> Self {
        Self { sequences, context, kv_heads, group, head_dim }
    }

    fn tokens(&self) -> usize {
        self.sequences * self.context
    }

    fn heads(&self) -> usize {
        self.kv_heads * self.group
    }
}

/// The sizes of the test cases. They include sequences of one token, contexts that are not multiples of a block (32
/// tokens) or of a tile (128 tokens), and one, two and three query heads for each key/value head.
const SHAPES: [AttentionShape; 8] = [
    AttentionShape::new(3, 1, 1, 1, 2),
    AttentionShape::new(2, 5, 1, 2, 6),
    AttentionShape::new(1, 33, 2, 1, 16),
    AttentionShape::new(2, 70, 1, 3, 32),
    AttentionShape::new(1, 150, 1, 1, 66),
    AttentionShape::new(1, 37, 2, 2, 128),
    AttentionShape::new(1, 9, 5, 1, 256),
    AttentionShape::new(1, 290, 1, 1, 6),
];

/// How the head rows (the values of one token for one attention head) of a test case are filled: a label, and two
/// functions. The arguments of each function are a source of random values and the index of the token in its sequence.
#[derive(Clone, Copy)]
struct HeadContent {
    label: &'static str,
    /// Returns an integer of the head row, at most 2^14 in magnitude.
    value: fn(&mut CaseSource, usize) -> i32,
    /// Returns the exponent that the integers of the head row share.
    exponent: fn(&mut CaseSource, usize) -> i32,
}

const CONTENTS: [HeadContent; 8] = [
    HeadContent { label: "random", value: wide, exponent: |s, _| s.within(-16, -12) },
    HeadContent { label: "far apart", value: wide, exponent: |s, _| s.within(-60, 60) },
    HeadContent { label: "far below", value: wide, exponent: |s, _| s.within(-60, -10) },
    HeadContent { label: "tiny", value: wide, exponent: |s, _| s.within(-1100, -1030) },
    HeadContent { label: "zero among others", value: |s, t| wide(s, t) * (t % 3 / 2) as i32, exponent: |_, _| -13 },
    HeadContent { label: "largest", value: |_, t| if t % 5 == 4 { -(1 << 14) } else { 1 << 14 }, exponent: |_, _| -14 },
    HeadContent { label: "sink", value: |s, t| if t == 0 { 1 << 14 } else { s.within(0, 99) }, exponent: |_, _| -11 },
    HeadContent { label: "zero", value: |_, _| 0, exponent: |_, _| 0 },
];

fn wide(source: &mut CaseSource, _: usize) -> i32 {
    source.within(-(1 << 14), 1 << 14)
}

const STREAM: u32 = 2;
const VALUE_STREAM: u32 = 3;

pub(super) fn forward(source: &mut CaseSource) -> Vec<Case> {
    let mut cases = each(source, forward_case);
    cases.push(longest(source));
    cases
}

pub(super) fn backward_query(source: &mut CaseSource) -> Vec<Case> {
    let mut cases = each(source, query_case);
    let case = longest(source);
    cases.push(query_case_after(source, &case, LONGEST, CONTENTS[0]));
    cases
}

pub(super) fn backward_key(source: &mut CaseSource) -> Vec<Case> {
    each(source, key_case)
}

/// Returns a test case of `attention` in a size that occurs in training: one sequence of `tokens` tokens.
pub(super) fn large_forward(source: &mut CaseSource, tokens: usize) -> Case {
    forward_case(source, large(tokens), CONTENTS[0])
}

/// Returns a test case of `attention_backward_query` in a size that occurs in training: one sequence of `tokens`
/// tokens.
pub(super) fn large_backward_query(source: &mut CaseSource, tokens: usize) -> Case {
    query_case(source, large(tokens), CONTENTS[0])
}

/// Returns a test case of `attention_backward_key` in a size that occurs in training: one sequence of `tokens` tokens.
pub(super) fn large_backward_key(source: &mut CaseSource, tokens: usize) -> Case {
    key_case(source, large(tokens), CONTENTS[0])
}

const fn large(tokens: usize) -> AttentionShape {
    AttentionShape::new(1, tokens, 2, 2, 128)
}

/// Returns test cases that combine the sizes in `SHAPES` with the kinds of values in `CONTENTS`. A size is combined
/// with all kinds of values or, if it needs much computation, with every third kind to save time.
fn each(source: &mut CaseSource, case: fn(&mut CaseSource, AttentionShape, HeadContent) -> Case) -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, shape) in SHAPES.into_iter().enumerate() {
        let small = shape.tokens() * shape.context * shape.heads() * shape.head_dim < 200_000;
        let chosen = CONTENTS.into_iter().enumerate().filter(|(j, _)| small || (i + j) % 3 == 0);
        cases.extend(chosen.map(|(_, content)| case(source, shape, content)));
    }
    cases
}

const LONGEST: AttentionShape = AttentionShape::new(1, MAX_CONTEXT, 1, 1, 2);

/// Returns a test case with a sequence of `MAX_CONTEXT` tokens, the longest that the kernel supports. To save time,
/// only the last token sees all keys. All other tokens have the position 0, so each of them sees only its own key.
fn longest(source: &mut CaseSource) -> Case {
    let mut case = forward_case(source, LONGEST, CONTENTS[0]);
    case.inputs[3][..MAX_CONTEXT - 1].fill(0);
    case
}

/// Returns `[tokens, heads]` head rows (the values of one token for one attention head), filled as `content` describes.
fn head_rows(source: &mut CaseSource, shape: AttentionShape, heads: usize, content: HeadContent) -> Vec<u32> {
    let mut words = vec![0; shape.tokens() * heads * head_words(shape.head_dim)];
    for (row, words) in words.chunks_exact_mut(head_words(shape.head_dim)).enumerate() {
        let t = row / heads % shape.context;
        let values: Vec<i64> = (0..shape.head_dim).map(|_| (content.value)(source, t).into()).collect();
        put(words, shape.head_dim, &values, (content.exponent)(source, t), None);
    }
    words
}

fn tables() -> Vec<u32> {
    [exp2_table(), log2_table()].concat()
}

/// Returns two factors: `1 / √head_dim` as a scale, and `log2(e) · 2^20 / √head_dim` as a 24-bit mantissa and a right
/// shift. The second factor converts inner products into scores.
fn roots(head_dim: usize) -> (Scale, u32, i32) {
    let root = Scale::from_f64(1.0 / (head_dim as f64).sqrt()).unwrap_or_default();
    let score = Scale::from_f64(std::f64::consts::LOG2_E / (head_dim as f64).sqrt()).unwrap_or_default();
    (root, round_even_u64(score.mantissa.into(), 7) as u32, -(score.exponent + 27))
}

fn label(shape: AttentionShape, content: HeadContent) -> String {
    let AttentionShape { sequences, context, kv_heads, group, head_dim } = shape;
    format!(
        "{sequences} sequences of {context} tokens, {kv_heads} key/value heads with {group} query heads each, \
         {head_dim} features per head, {}",
        content.label
    )
}

fn group_inverse(shape: AttentionShape) -> u32 {
    (1u32 << 16).div_ceil(shape.group as u32)
}

fn forward_case(source: &mut CaseSource, shape: AttentionShape, content: HeadContent) -> Case {
    let (_, score_mantissa, score_shift) = roots(shape.head_dim);
    let params = attention::Params {
        tokens: shape.tokens() as u32,
        heads: shape.heads() as u32,
        kv_heads: shape.kv_heads as u32,
        head_dim: shape.head_dim as u32,
        group_inverse: group_inverse(shape),
        score_mantissa,
        score_shift,
        ..Default::default()
    };
    let owned = [shape.tokens() * (shape.heads() * shape.head_dim + INFO), shape.tokens() * shape.heads() * STATS];
    let [out, stats] = owned.map(|owned| source.before_write(owned));
    Case {
        kernel: &attention::KERNEL,
        label: label(shape, content),
        params: params.words(),
        inputs: vec![
            head_rows(source, shape, shape.heads(), content),
            head_rows(source, shape, shape.kv_heads, content),
            head_rows(source, shape, shape.kv_heads, content),
            (0..shape.tokens()).map(|token| (token % shape.context) as u32).collect(),
            tables(),
            out,
            stats,
        ],
    }
}

fn query_case(source: &mut CaseSource, shape: AttentionShape, content: HeadContent) -> Case {
    let forward = forward_case(source, shape, content);
    query_case_after(source, &forward, shape, content)
}

fn query_case_after(source: &mut CaseSource, forward: &Case, shape: AttentionShape, content: HeadContent) -> Case {
    let (inverse_root, score_mantissa, score_shift) = roots(shape.head_dim);
    let params = attention_backward_query::Params {
        tokens: shape.tokens() as u32,
        heads: shape.heads() as u32,
        kv_heads: shape.kv_heads as u32,
        head_dim: shape.head_dim as u32,
        group_inverse: group_inverse(shape),
        score_mantissa,
        score_shift,
        inverse_root: inverse_root.mantissa,
        inverse_root_exponent: inverse_root.exponent,
        stream: STREAM,
        ..Default::default()
    };
    let (mut after, _) = run_reference(forward);
    let dq = source.before_write(shape.tokens() * shape.heads() * (shape.head_dim + INFO));
    let dout = head_rows(source, shape, shape.heads(), content);
    let stats = after.pop().unwrap_or_default();
    after.truncate(3);
    after.extend([dout, tables(), source.dither(STREAM), stats, dq]);
    Case {
        kernel: &attention_backward_query::KERNEL,
        label: forward.label.clone(),
        params: params.words(),
        inputs: after,
    }
}

fn key_case(source: &mut CaseSource, shape: AttentionShape, content: HeadContent) -> Case {
    let (inverse_root, score_mantissa, score_shift) = roots(shape.head_dim);
    let params = attention_backward_key::Params {
        tokens: shape.tokens() as u32,
        context: shape.context as u32,
        heads: shape.heads() as u32,
        kv_heads: shape.kv_heads as u32,
        head_dim: shape.head_dim as u32,
        group: shape.group as u32,
        score_mantissa,
        score_shift,
        inverse_root: inverse_root.mantissa,
        inverse_root_exponent: inverse_root.exponent,
        key_stream: STREAM,
        value_stream: VALUE_STREAM,
        ..Default::default()
    };
    let (mut after, _) = run_reference(&query_case(source, shape, content));
    let stats = after.swap_remove(6);
    after.truncate(4);
    let out = source.before_write(shape.tokens() * 2 * shape.kv_heads * (shape.head_dim + INFO));
    after.extend([stats, tables(), source.dither(VALUE_STREAM), out]);
    Case {
        kernel: &attention_backward_key::KERNEL,
        label: label(shape, content),
        params: params.words(),
        inputs: after,
    }
}
