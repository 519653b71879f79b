// The softmax denominator of each token: sum[t] = Σ_v 2^(z[t, v] − maximum[t]). This is the second pass of softmax.
// Each dispatch adds the terms of one shard of the vocabulary. One workgroup computes one token.

struct Params {
    first_group: u32,
    tokens: u32,
    vocab: u32,
    shard: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> z: array<i32>; // [tokens, vocab] Q20
@group(0) @binding(2) var<storage, read> maximum: array<i32>; // [tokens] Q20
@group(0) @binding(3) var<storage, read> tables: array<u32>; // [257] exponentials Q30, then [257] logarithms Q24
@group(0) @binding(4) var<storage, read_write> sum: array<u32>; // [tokens] u64, in Q30

@compute @workgroup_size(row_lanes)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let token = group.y + params.first_group;
    let largest = bitcast<u32>(maximum[token]);
    var total = vec2(0u, 0u);
    for (var v = local.x; v < params.vocab; v += row_lanes) {
        total = add_64(total, vec2(exponential_of(largest - bitcast<u32>(z[token * params.vocab + v])), 0u));
    }
    total = row_sum(local.x, vec4(total, vec2(0u))).xy;
    if local.x == 0u {
        let at = token << 1u;
        if params.shard != 0u {
            total = add_64(total, vec2(sum[at], sum[at + 1u]));
        }
        sum[at] = total.x;
        sum[at + 1u] = total.y;
    }
}
