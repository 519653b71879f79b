// gradient[r, i] += Σ_t f[t, r] · x[t, i], block by block.
// One workgroup: 32 columns of four ranks. One invocation: of every sixteenth block, four columns of the four ranks;
// then of all blocks, in their order, one column of one rank.

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

// Sums of 16 blocks: [16, 4 ranks, 32 columns].
var<workgroup> sums: array<i32, 2048>;

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

fn put(at: u32, sums_of: Sums) {
    let sum = sums_of.high * 256i + sums_of.low;
    sums[at] = sum.x;
    sums[at + 1u] = sum.y;
    sums[at + 2u] = sum.z;
    sums[at + 3u] = sum.w;
}

@compute @workgroup_size(8, 16, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let word = group.x * 8u + local.x;
    // ranks beyond the last are computed as the last, and dropped
    let first_rank = (group.y + params.first_group) * 4u;
    let ranks = min(vec4(first_rank) + vec4(0u, 1u, 2u, 3u), vec4(params.rank - 1u));

    let r = first_rank + (index >> 5u);
    let column = group.x * 32u + (index & 31u);
    let kept = r < params.rank && column < params.in_features;
    let at = (r * params.in_features + column) * 2u;
    var value = vec2(0u);
    if kept {
        value = vec2(gradient[at], gradient[at + 1u]);
    }
    var saturated = false;

    for (var start = 0u; start < params.blocks; start += 16u) {
        let block = start + local.y;
        let zero = Sums(vec4(0i), vec4(0i));
        var first = zero;
        var second = zero;
        var third = zero;
        var fourth = zero;
        if block < params.blocks && (word << 2u) < params.in_features {
            let span = vec2(spans[block * 2u], spans[block * 2u + 1u]);
            let from_word = (vec4(block * params.rank) + ranks) * 20u;
            for (var i = 0u; i < min(span.y, 32u); i += 4u) {
                let first_rows = vec2(bytes(span, i, word), bytes(span, i + 1u, word));
                let columns = transpose_bytes(vec4(first_rows, bytes(span, i + 2u, word), bytes(span, i + 3u, word)));
                let weight = i >> 2u;
                first = with_tokens(first, columns, from_word.x + weight);
                second = with_tokens(second, columns, from_word.y + weight);
                third = with_tokens(third, columns, from_word.z + weight);
                fourth = with_tokens(fourth, columns, from_word.w + weight);
            }
        }
        let stage = (local.y << 7u) + (local.x << 2u);
        put(stage, first);
        put(stage + 32u, second);
        put(stage + 64u, third);
        put(stage + 96u, fourth);
        workgroupBarrier();
        if kept {
            for (var i = 0u; i < min(params.blocks - start, 16u); i++) {
                // |sum| < 2^26
                let sum = extend_64(sums[(i << 7u) + index]);
                let exponent = bitcast<i32>(folded[((start + i) * params.rank + r) * 20u + 16u]);
                let after = accumulate_64(value, sum, exponent - bitcast<i32>(lora_info[params.exponent_at]));
                value = after.value;
                saturated = saturated || after.saturated;
            }
        }
        workgroupBarrier();
    }
    if kept {
        gradient[at] = value.x;
        gradient[at + 1u] = value.y;
        if saturated {
            atomicMax(&flag, 1u);
        }
    }
}
