// The embedding of tokens: out[t, i] = embedding[ids[t], i] · row_scales[ids[t]] · 2^-shift. Each dispatch looks up the
// tokens in one shard of the vocabulary. The dispatch of the first shard also sets to 0 the rows of the tokens that are
// in other shards. One invocation computes one element.

struct Params {
    first_group: u32,
    tokens: u32,
    width: u32,
    shift: i32,
    fraction_bits: u32,
    vocab_offset: u32,
    vocab: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>; // [tokens], IDs in the whole vocabulary
@group(0) @binding(2) var<storage, read> embedding: array<u32>; // [vocab, width] byte rows
@group(0) @binding(3) var<storage, read> row_scales: array<u32>; // [vocab] u16, in units of 2^-16
@group(0) @binding(4) var<storage, read_write> out: array<u32>; // [tokens, width + 4] i32 rows
@group(0) @binding(5) var<storage, read_write> flag: atomic<u32>;

// Sets one element of a row of `out` to 0. The row starts at word `at`. The call for column 0 also sets the row info,
// the four words after the elements, to 0. The row belongs to a token of another shard, and the dispatch of that shard
// writes the row later.
fn clear(at: u32, column: u32) {
    if column == 0u {
        out[at + params.width] = 0u;
        out[at + params.width + 1u] = 0u;
        out[at + params.width + 2u] = 0u;
        out[at + params.width + 3u] = 0u;
    }
    if column < params.width {
        out[at + column] = 0u;
    }
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let token = group.y + params.first_group;
    let column = group.x * 64u + local.x;
    let at = token * (params.width + 4u);
    let id = ids[token] - params.vocab_offset;
    if id >= params.vocab {
        if params.vocab_offset == 0u {
            clear(at, column);
        }
        return;
    }
    if column == 0u {
        let unit = scale_power(-bitcast<i32>(params.fraction_bits));
        out[at + params.width] = unit.mantissa;
        out[at + params.width + 1u] = bitcast<u32>(unit.exponent);
        out[at + params.width + 2u] = 0u;
        out[at + params.width + 3u] = 0u;
    }
    if column >= params.width {
        return;
    }
    let bytes = embedding[id * row_words(params.width) + (column >> 2u)];
    let byte = bitcast<i32>(bytes << ((24u - ((column & 3u) << 3u)) & 31u)) >> 24u;
    let result = shift_to_i32(multiply_i32(byte, bitcast<i32>(row_scales[id])), params.shift);
    out[at + column] = bitcast<u32>(result.value);
    if result.saturated {
        atomicMax(&flag, 1u);
    }
}
