// gradient[r, i] += Σ_block 2^(exponent − job exponent) · Σ_t f[t, r] · x[t, i]: the gradient of the factor a.
// The sum of a block, at most 32 tokens, is exact in i32: |Σ| ≤ 127 · 2^14 · 32 < 2^26. It is shifted to the job's
// exponent and added in i64, so gradients add up to the same bits in any order.

struct Params {
    first_group: u32,
    blocks: u32,
    in_features: u32,
    rank: u32,
    exponent_at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [tokens, in_features] byte rows
@group(0) @binding(2) var<storage, read> folded: array<u32>; // [blocks, rank, 20]: planes of 32 tokens, exponent
@group(0) @binding(3) var<storage, read> spans: array<u32>; // [blocks, 2]: first token, number of tokens ≤ 32
@group(0) @binding(4) var<storage, read> lora_info: array<u32>; // word exponent_at is the job's exponent
@group(0) @binding(5) var<storage, read_write> gradient: array<u32>; // [rank, in_features] i64
@group(0) @binding(6) var<storage, read_write> flag: atomic<u32>;

// The number of ranks that an invocation computes.
const RANKS = 4u;

// Sums of 16 blocks: [16, 4 ranks, 32 columns].
var<workgroup> staged: array<i32, 2048>;

// Sums of four columns for one rank, one field for each plane of f.
struct PlaneSums {
    high: vec4<i32>,
    low: vec4<i32>,
}

// Sums of four columns for four ranks.
struct Sums {
    first: PlaneSums,
    second: PlaneSums,
    third: PlaneSums,
    fourth: PlaneSums,
}

// The number of columns of the gradient.
fn width() -> u32 {
    return params.in_features;
}

// Adds tokens i..i + 4 of a block to the sums; their weights for each rank are at the words `at` of `folded`.
fn with_tokens(sums: Sums, span: vec2<u32>, i: u32, word: u32, at: vec4<u32>) -> Sums {
    let columns = transpose_bytes(vec4(
        bytes(span, i, word),
        bytes(span, i + 1u, word),
        bytes(span, i + 2u, word),
        bytes(span, i + 3u, word),
    ));
    return Sums(
        with_weights(sums.first, columns, at.x),
        with_weights(sums.second, columns, at.y),
        with_weights(sums.third, columns, at.z),
        with_weights(sums.fourth, columns, at.w),
    );
}

// Four columns of token i of a block; 0 beyond the block.
fn bytes(span: vec2<u32>, i: u32, word: u32) -> u32 {
    if i >= span.y {
        return 0u;
    }
    return x[(span.x + i) * row_words(params.in_features) + word];
}

fn with_weights(sums: PlaneSums, columns: vec4<u32>, at: u32) -> PlaneSums {
    let high = sums.high + dot_columns(columns, folded[at]);
    return PlaneSums(high, sums.low + dot_columns(columns, folded[at + 8u]));
}

// Adds a block's sums, |sum| < 2^26, to the gradient of ranks r.
fn add_ranks(block: u32, r: vec4<u32>, column: u32, sums: Sums) {
    add_rank(block, r.x, column, sums.first);
    add_rank(block, r.y, column, sums.second);
    add_rank(block, r.z, column, sums.third);
    add_rank(block, r.w, column, sums.fourth);
}

fn add_rank(block: u32, r: u32, column: u32, sums: PlaneSums) {
    let sum = joined(sums);
    add_columns(block, r, column, extend_64(sum.x), extend_64(sum.y), extend_64(sum.z), extend_64(sum.w));
}

fn joined(sums: PlaneSums) -> vec4<i32> {
    return sums.high * 256i + sums.low;
}

// Stages a block's sums; ranks are 32 columns apart.
fn stage_ranks(at: u32, sums: Sums) {
    stage(at, joined(sums.first));
    stage(at + 32u, joined(sums.second));
    stage(at + 64u, joined(sums.third));
    stage(at + 96u, joined(sums.fourth));
}

fn stage(at: u32, sum: vec4<i32>) {
    staged[at] = sum.x;
    staged[at + 1u] = sum.y;
    staged[at + 2u] = sum.z;
    staged[at + 3u] = sum.w;
}

fn staged_sum(at: u32) -> vec2<u32> {
    return extend_64(staged[at]);
}
