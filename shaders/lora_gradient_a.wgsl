// gradient[r, i] += Σ_t f[t, r] · x[t, i], block by block.
// One invocation: four columns of four ranks.

struct Params {
    first_group: u32,
    blocks: u32,
    in_features: u32,
    rank: u32,
    exponent_at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [tokens, in_features] byte rows
@group(0) @binding(2) var<storage, read> folded: array<u32>; // [blocks, rank, 20]
@group(0) @binding(3) var<storage, read> spans: array<u32>; // [blocks, 2]: first token, tokens ≤ 32
@group(0) @binding(4) var<storage, read> lora_info: array<u32>;
@group(0) @binding(5) var<storage, read_write> gradient: array<u32>; // [rank, in_features] i64
@group(0) @binding(6) var<storage, read_write> flag: atomic<u32>;

// Four columns of token i of a block; 0 beyond the block.
fn bytes(span: vec2<u32>, i: u32, word: u32) -> u32 {
    if i >= span.y {
        return 0u;
    }
    return x[(span.x + i) * row_words(params.in_features) + word];
}

// Sums of four columns, in two planes.
struct Sums {
    high: vec4<i32>,
    low: vec4<i32>,
}

// With four tokens more, for rank r.
fn with_tokens(sums: Sums, columns: vec4<u32>, at: u32) -> Sums {
    let high = sums.high + dot_columns(columns, folded[at]);
    return Sums(high, sums.low + dot_columns(columns, folded[at + 8u]));
}

fn add(r: u32, column: u32, sum: i32, shift: i32) {
    if column >= params.in_features {
        return;
    }
    let at = (r * params.in_features + column) * 2u;
    let after = accumulate_64(vec2(gradient[at], gradient[at + 1u]), extend_64(sum), shift);
    gradient[at] = after.value.x;
    gradient[at + 1u] = after.value.y;
    if after.saturated {
        atomicMax(&flag, 1u);
    }
}

// Adds a block's sums for rank r, |sum| < 2^26.
fn add_block(block: u32, r: u32, column: u32, sums: Sums) {
    if r >= params.rank {
        return;
    }
    let exponent = bitcast<i32>(folded[(block * params.rank + r) * 20u + 16u]);
    let shift = exponent - bitcast<i32>(lora_info[params.exponent_at]);
    let sum = sums.high * 256i + sums.low;
    add(r, column, sum.x, shift);
    add(r, column + 1u, sum.y, shift);
    add(r, column + 2u, sum.z, shift);
    add(r, column + 3u, sum.w, shift);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let word = group.x * 64u + local.x;
    let column = word << 2u;
    if column >= params.in_features {
        return;
    }
    // ranks beyond the last are computed as the last, and dropped
    let r = vec4((group.y + params.first_group) * 4u) + vec4(0u, 1u, 2u, 3u);
    let ranks = min(r, vec4(params.rank - 1u));
    for (var block = 0u; block < params.blocks; block++) {
        let span = vec2(spans[block * 2u], spans[block * 2u + 1u]);
        let at = (vec4(block * params.rank) + ranks) * 20u;
        let zero = Sums(vec4(0i), vec4(0i));
        var first = zero;
        var second = zero;
        var third = zero;
        var fourth = zero;
        for (var i = 0u; i < min(span.y, 32u); i += 4u) {
            let rows = vec4(bytes(span, i, word), bytes(span, i + 1u, word), bytes(span, i + 2u, word), bytes(span, i + 3u, word));
            let columns = transpose_bytes(rows);
            let weight = i >> 2u;
            first = with_tokens(first, columns, at.x + weight);
            second = with_tokens(second, columns, at.y + weight);
            third = with_tokens(third, columns, at.z + weight);
            fourth = with_tokens(fourth, columns, at.w + weight);
        }
        add_block(block, r.x, column, first);
        add_block(block, r.y, column, second);
        add_block(block, r.z, column, third);
        add_block(block, r.w, column, fourth);
    }
}
