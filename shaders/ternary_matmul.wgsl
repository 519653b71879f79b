// out[t, n] = Σ_k x[t, k] · w[n, k], on codes 0..=2: Σ x·code − Σ x.
// One invocation: one row n, four tokens.

struct Params {
    first_group: u32,
    tokens: u32,
    in_features: u32,
    out_features: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>; // [tokens, in_features] byte rows
@group(0) @binding(2) var<storage, read> x_info: array<u32>; // [tokens, 4]
@group(0) @binding(3) var<storage, read> weights: array<u32>; // [out_features, in_features] block words
@group(0) @binding(4) var<storage, read_write> out: array<i32>; // [tokens, out_features + 4]

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let n = group.x * 64u + local.x;
    if n >= params.out_features {
        return;
    }
    let words = row_words(params.in_features);
    let bit = (n & 3u) << 1u;
    for (var i = 0u; i < 4u; i++) {
        let t = (group.y + params.first_group) * 4u + i;
        if t >= params.tokens {
            return;
        }
        var sum = -i32(x_info[t * 4u + 2u]);
        for (var k = 0u; k < words; k++) {
            let codes = (weights[(n >> 2u) * words + k] >> (bit & 31u)) & 0x03030303u;
            sum += dot4I8Packed(codes, x[t * words + k]);
        }
        out[t * (params.out_features + 4u) + n] = sum;
    }
}
