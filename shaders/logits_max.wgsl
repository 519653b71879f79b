// maximum[t] = max_v z[t, v]: the first softmax pass, one shard of the vocabulary after another.
// One workgroup: one token.

struct Params {
    first_group: u32,
    tokens: u32,
    vocab: u32,
    shard: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> z: array<i32>; // [tokens, vocab]
@group(0) @binding(2) var<storage, read_write> maximum: array<i32>; // [tokens]

@compute @workgroup_size(128, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let token = group.y + params.first_group;
    var largest = -2147483647i - 1i;
    for (var v = local.x; v < params.vocab; v += LANES) {
        largest = max(largest, z[token * params.vocab + v]);
    }
    largest = lanes_max(local.x, largest);
    if local.x == 0u {
        if params.shard != 0u {
            largest = max(largest, maximum[token]);
        }
        maximum[token] = largest;
    }
}
