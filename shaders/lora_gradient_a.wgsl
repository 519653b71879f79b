// Adds to the gradient of the LoRA factor a: gradient[r, i] += Σ_block 2^(exponent − job exponent) · Σ_t f[t, r] ·
// x[t, i], where f are the outputs of lora_fold.wgsl, `exponent` is the exponent of f for the block and row r, and x is
// the input of the linear layer. The job exponent is the exponent of this gradient, which is the same in all tasks of a
// network.
// A block has at most 32 tokens, and its sum is exact in i32: |Σ| ≤ 127 · 2^14 · 32 < 2^26. The sum is shifted to the
// job exponent and added in i64, so the order of the additions does not affect the bits of the gradient.

struct Params {
    first_group: u32,
    blocks: u32,
    in_features: u32,
    rank: u32,
    exponent_at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [tokens, in_features] byte rows
@group(0) @binding(2) var<storage, read> folded: array<u32>; // [blocks, rank, 20]: two planes of 32 tokens, exponent
@group(0) @binding(3) var<storage, read> spans: array<u32>; // [blocks, 2]: first token, number of tokens ≤ 32
@group(0) @binding(4) var<storage, read> lora_info: array<u32>; // word exponent_at: the job's exponent
@group(0) @binding(5) var<storage, read_write> gradient: array<u32>; // [rank, in_features] i64
@group(0) @binding(6) var<storage, read_write> flag: atomic<u32>;

// The number of rows of the gradient that one invocation computes. The gradient has `rank` rows.
const RANKS = 4u;

// The sums of 16 blocks, before they are added to the gradient: [16 blocks, 4 rows, 32 columns].
var<workgroup> staged: array<i32, 2048>;

// Sums of products for one row and four columns of the gradient, separately for the high and the low int8 plane of f,
// the outputs of lora_fold.wgsl.
struct PlaneSums {
    high: vec4<i32>,
    low: vec4<i32>,
}

// Sums of products for four rows (one field for each) and four columns of the gradient.
struct Sums {
    first: PlaneSums,
    second: PlaneSums,
    third: PlaneSums,
    fourth: PlaneSums,
}

// Returns the number of columns of the gradient, which are the input features.
fn width() -> u32 {
    return params.in_features;
}

// Returns `sums` plus the products f · x of tokens i to i + 3 of a block, where f are the outputs of lora_fold.wgsl
// (the buffer `folded`). The products are for the four columns of x in word `word` of a row. For each of the four rows
// of the gradient, `at` holds the index of the word in `folded` that contains the high plane of f for these tokens.
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

// Returns the four int8 values in word `word` of the row of x for token i of a block. Returns 0 past the end of the
// block.
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

// Adds a block's sums to the gradient, in the four rows `r` and in four columns from `column` on. Each sum is < 2^26 in
// magnitude.
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

// Stores a block's sums in `staged`: the sums of the first row at index `at`, and the sums of each further row 32
// elements after those of the row before.
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
