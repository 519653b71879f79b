// The largest logit of each token: maximum[t] = max_v z[t, v]. This is the first pass of softmax. Each dispatch takes
// one shard of the vocabulary into account. One workgroup computes one token.

struct Params {
    first_group: u32,
    tokens: u32,
    vocab: u32,
    shard: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> z: array<i32>; // [tokens, vocab] Q20
@group(0) @binding(2) var<storage, read_write> maximum: array<i32>; // [tokens] Q20

// Maps an i32 to a u32. The mapping preserves the order of the values.
fn ordered(value: i32) -> u32 {
    return bitcast<u32>(value) ^ 0x80000000u;
}

@compute @workgroup_size(row_lanes)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let token = group.y + params.first_group;
    var largest = 0u;
    for (var v = local.x; v < params.vocab; v += row_lanes) {
        largest = max(largest, ordered(z[token * params.vocab + v]));
    }
    largest = row_max(local.x, vec4(largest, vec3(0u))).x;
    if local.x == 0u {
        if params.shard != 0u {
            largest = max(largest, ordered(maximum[token]));
        }
        maximum[token] = bitcast<i32>(largest ^ 0x80000000u);
    }
}
