// The SHA-256 digests (FIPS 180-4) of tiles of 256 words: digests[i] = SHA-256(data[256 · i .. 256 · (i + 1)]). The
// last tile may be shorter. One invocation computes the digest of one tile.

struct Params {
    first_group: u32,
    words: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> data: array<u32>; // [words], hashed as little-endian bytes
// [ceil(words / 256), 8] words: for each tile, the 32 bytes of its digest, as eight little-endian words
@group(0) @binding(2) var<storage, read_write> digests: array<u32>;

// The eight working variables of SHA-256: a to d in `first`, and e to h in `second`.
struct State {
    first: vec4<u32>,
    second: vec4<u32>,
}

fn rotated(x: u32, right: u32) -> u32 {
    return (x >> (right & 31u)) | (x << ((32u - right) & 31u));
}

fn small_0(x: u32) -> u32 {
    return rotated(x, 7u) ^ rotated(x, 18u) ^ (x >> 3u);
}

fn small_1(x: u32) -> u32 {
    return rotated(x, 17u) ^ rotated(x, 19u) ^ (x >> 10u);
}

// Returns the state after one round of SHA-256. `wk` is the round's word of the message schedule plus the round
// constant.
fn round_of(s: State, wk: u32) -> State {
    let a = s.first.x;
    let e = s.second.x;
    let big_0 = rotated(a, 2u) ^ rotated(a, 13u) ^ rotated(a, 22u);
    let big_1 = rotated(e, 6u) ^ rotated(e, 11u) ^ rotated(e, 25u);
    let chosen = s.second.z ^ (e & (s.second.y ^ s.second.z));
    let majority = (a & s.first.y) | (s.first.z & (a | s.first.y));
    let t = s.second.w + big_1 + chosen + wk;
    return State(vec4(t + big_0 + majority, s.first.xyz), vec4(s.first.w + t, s.second.xyz));
}

fn rounds(s: State, wk: vec4<u32>) -> State {
    return round_of(round_of(round_of(round_of(s, wk.x), wk.y), wk.z), wk.w);
}

// Returns the next four words of SHA-256's message schedule. The 16 words before them are in a, b, c and d, in this
// order.
fn scheduled(a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>) -> vec4<u32> {
    let before = vec4(small_0(a.y), small_0(a.z), small_0(a.w), small_0(b.x));
    let partial = a + before + vec4(c.yzw, d.x);
    let x = partial.x + small_1(d.z);
    let y = partial.y + small_1(d.w);
    return vec4(x, y, partial.z + small_1(x), partial.w + small_1(y));
}

fn big_endian(x: u32) -> u32 {
    let pairs = ((x & 0x00ff00ffu) << 8u) | ((x >> 8u) & 0x00ff00ffu);
    return (pairs << 16u) | (pairs >> 16u);
}

// Returns word i of the padded message. The message is the tile of n words that starts at data[start]. It is padded to
// a length of `blocks` blocks, each of 16 words.
fn message_word(start: u32, i: u32, n: u32, blocks: u32) -> u32 {
    if i < n {
        return big_endian(data[start + i]);
    }
    return select(select(0u, n << 5u, i + 1u == blocks << 4u), 0x80000000u, i == n);
}

fn message(start: u32, i: u32, n: u32, blocks: u32) -> vec4<u32> {
    return vec4(
        message_word(start, i, n, blocks),
        message_word(start, i + 1u, n, blocks),
        message_word(start, i + 2u, n, blocks),
        message_word(start, i + 3u, n, blocks),
    );
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let tile = (group.y + params.first_group) * 64u + local.x;
    let start = tile << 8u;
    if start >= params.words {
        return;
    }
    let n = min(params.words - start, 256u);
    let blocks = (n + 18u) >> 4u; // 16 words each; the end mark (a 1 bit) and the length take 3 words
    var hash = State(
        vec4(0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au),
        vec4(0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u),
    );
    for (var block = 0u; block < blocks; block++) {
        let i = block << 4u;
        var a = message(start, i, n, blocks);
        var b = message(start, i + 4u, n, blocks);
        var c = message(start, i + 8u, n, blocks);
        var d = message(start, i + 12u, n, blocks);
        var s = hash;
        s = rounds(s, a + vec4(0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u));
        s = rounds(s, b + vec4(0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u));
        s = rounds(s, c + vec4(0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u));
        s = rounds(s, d + vec4(0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u));
        a = scheduled(a, b, c, d);
        s = rounds(s, a + vec4(0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu));
        b = scheduled(b, c, d, a);
        s = rounds(s, b + vec4(0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau));
        c = scheduled(c, d, a, b);
        s = rounds(s, c + vec4(0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u));
        d = scheduled(d, a, b, c);
        s = rounds(s, d + vec4(0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u));
        a = scheduled(a, b, c, d);
        s = rounds(s, a + vec4(0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u));
        b = scheduled(b, c, d, a);
        s = rounds(s, b + vec4(0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u));
        c = scheduled(c, d, a, b);
        s = rounds(s, c + vec4(0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u));
        d = scheduled(d, a, b, c);
        s = rounds(s, d + vec4(0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u));
        a = scheduled(a, b, c, d);
        s = rounds(s, a + vec4(0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u));
        b = scheduled(b, c, d, a);
        s = rounds(s, b + vec4(0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u));
        c = scheduled(c, d, a, b);
        s = rounds(s, c + vec4(0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u));
        d = scheduled(d, a, b, c);
        s = rounds(s, d + vec4(0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u));
        hash = State(hash.first + s.first, hash.second + s.second);
    }
    let at = tile * 8u;
    digests[at] = big_endian(hash.first.x);
    digests[at + 1u] = big_endian(hash.first.y);
    digests[at + 2u] = big_endian(hash.first.z);
    digests[at + 3u] = big_endian(hash.first.w);
    digests[at + 4u] = big_endian(hash.second.x);
    digests[at + 5u] = big_endian(hash.second.y);
    digests[at + 6u] = big_endian(hash.second.z);
    digests[at + 7u] = big_endian(hash.second.w);
}
