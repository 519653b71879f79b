//! Names: what drivers, browsers and marketing call the architectures.
//!
//! Patterns as in [`pattern`](super::pattern); of several lines the first one that fits counts,
//! so a code name comes before a product name and an exception before its series.

use super::pattern::Words;

/// A name, and the patterns that stand for it.
pub(super) type Line = (&'static str, &'static str);

pub(super) const ADRENO: [&str; 7] =
    ["Adreno 2xx", "Adreno 3xx", "Adreno 4xx", "Adreno 5xx", "Adreno 6xx", "Adreno 7xx", "Adreno 8xx"];
pub(super) const AMPERE: &str = "Ampere";
pub(super) const MIDGARD: &str = "Midgard";
pub(super) const BIFROST: &str = "Bifrost";
pub(super) const VALHALL: &str = "Valhall";
pub(super) const FIFTH_GEN: &str = "5th gen";
pub(super) const ROGUE: &str = "PowerVR Rogue";
pub(super) const V3D: &str = "V3D";

/// The first line whose patterns are among the words.
pub(super) fn first(lines: &[Line], words: &Words) -> Option<&'static str> {
    lines.iter().find(|(_, patterns)| words.contain(patterns)).map(|(name, _)| *name)
}

/// The lines of a vendor's architectures.
pub(super) fn architectures(vendor: &str) -> &'static [Line] {
    ARCHITECTURES.iter().find(|(name, _)| *name == vendor).map_or(&[], |(_, lines)| lines)
}

/// Who presents a virtual GPU.
pub(super) fn vendor_of_virtual(architecture: &str) -> &'static str {
    let known = VIRTUAL_VENDORS.iter().find(|(word, _)| architecture.contains(word));
    known.map_or(super::UNKNOWN, |(_, vendor)| *vendor)
}

const VIRTUAL_VENDORS: &[Line] = &[
    ("virtio-gpu", "virtio-gpu"),
    ("virgl", "virgl"),
    ("VMware", "VMware"),
    ("Parallels", "Parallels"),
    ("VirtualBox", "Oracle"),
    ("Hyper-V", "Microsoft"),
    ("RemoteFX", "Microsoft"),
    ("Remote Display", "Microsoft"),
    ("simulator", "Apple"),
    ("paravirtual", "Apple"),
    ("Android", "Google"),
    ("gfxstream", "Google"),
];

pub(super) const SOFTWARE: &[Line] = &[
    ("SwiftShader", "swiftshader"),
    ("WARP", "basic render driver | microsoft warp"),
    ("llvmpipe/lavapipe", "llvmpipe | lavapipe | mesa software"),
    ("softpipe", "softpipe | swrast | software rasterizer | mesa offscreen"),
    ("OpenSWR", "swr | openswr"),
    ("Apple software renderer", "apple software renderer"),
    ("GDI", "gdi generic | microsoft basic display"),
];

pub(super) const VIRTUAL: &[Line] = &[
    ("Virtual (virtio-gpu Venus)", "venus"),
    ("Virtual (virgl)", "virgl"),
    ("Virtual (gfxstream)", "gfxstream"),
    ("Virtual (virtio-gpu)", "virtio"),
    ("Virtual (VMware SVGA)", "vmware | svga3d | svga"),
    ("Virtual (Parallels)", "parallels"),
    ("Virtual (VirtualBox)", "virtualbox | chromium opengl"),
    ("Virtual (QEMU)", "qxl | qemu | bochs"),
    ("Virtual (RemoteFX)", "remotefx"),
    ("Virtual (Hyper-V)", "hyper v | microsoft virtual render"),
    ("Virtual (Remote Display)", "remote display adapter | remote desktop"),
    ("Virtual (xrOS simulator)", "xros simulator | visionos simulator"),
    ("Virtual (iOS simulator)", "ios simulator"),
    ("Virtual (tvOS simulator)", "tvos simulator"),
    ("Virtual (Apple paravirtual)", "apple paravirtual | paravirtual"),
    ("Virtual (Android emulator)", "android emulator | emulator opengl"),
];

/// Words too common to look for outside the name. `8q`: a slice of an NVIDIA card, as in `A10-8Q`.
pub(super) const SOFTWARE_NAMES: &[Line] = &[(super::UNKNOWN, "software | cpu | warp")];
pub(super) const VIRTUAL_NAMES: &[Line] = &[("Virtual (other)", "virtual | indirect display | vgpu | #q | ##q")];

/// Apple last: its names stand in front of AMD's and Intel's where ANGLE runs on Metal.
pub(super) const VENDORS: &[Line] = &[
    ("NVIDIA", "nvidia | geforce | quadro | tesla | tegra | titan | rtx | gtx | nouveau | nvk"),
    ("AMD", "amd | radeon | firepro | instinct | ati | radv | radeonsi"),
    ("Intel", "intel | iris"),
    ("Qualcomm", "qualcomm | adreno | turnip | freedreno | snapdragon"),
    ("ARM", "arm | mali | immortalis | panfrost | panthor"),
    ("Imagination", "powervr | imagination | img tec | img"),
    ("Broadcom", "broadcom | v3d | v3dv | videocore | vc4"),
    ("Samsung", "samsung | xclipse"),
    ("Huawei", "huawei | maleoon"),
    ("VeriSilicon", "verisilicon | vivante"),
    ("Moore Threads", "moore threads | mthreads | mtt"),
    ("Apple", "apple"),
];

const ARCHITECTURES: &[(&str, &[Line])] = &[
    ("NVIDIA", NVIDIA),
    ("AMD", AMD),
    ("Intel", INTEL),
    ("Qualcomm", QUALCOMM),
    ("ARM", ARM),
    ("Imagination", IMAGINATION),
    ("Broadcom", &[("VideoCore IV", "vc4 | videocore iv"), (V3D, "v3d | v3dv | videocore")]),
    ("Samsung", &[("RDNA2", "rdna 2 | xclipse 920"), ("RDNA3", "rdna 3 | xclipse 540 | xclipse 940")]),
    ("Huawei", &[("Maleoon", "maleoon")]),
    ("Apple", APPLE),
];

const NVIDIA: &[Line] = &[
    // NVK's chips, nouveau's chips, Dawn's words.
    ("Fermi", "gf1## | gf1##[a-z]* | nv[cd]# | fermi"),
    ("Kepler", "gk1##* | gk20* | nv[ef]# | nv10# | kepler"),
    ("Maxwell", "gm1##* | gm2##* | nv1[12]# | maxwell | tegra x1"),
    ("Volta", "gv1##* | gv11b | nv14# | volta | xavier"),
    ("Turing", "tu1##* | nv16# | turing"),
    (AMPERE, "ga1##* | nv17# | ampere | orin"),
    ("Ada Lovelace", "ad1##* | nv19# | ada | lovelace"),
    ("Hopper", "gh1##* | hopper | h[128]00* | h20 | gh200"),
    ("Blackwell", "gb10* | gb20[0-9]* | gb300 | blackwell | b[123]00 | rtx pro #* | thor"),
    ("Pascal", "gp10* | gp1##* | nv13# | pascal | tegra x2 | parker"),
    ("Kepler", "tegra k1"),
    // GeForce.
    ("Blackwell", "rtx 50[5-9]0*"),
    ("Ada Lovelace", "rtx 40[5-9]0* | rtx 3050 a"),
    (AMPERE, "rtx 30[5-9]0* | rtx 2050 | mx570*"),
    ("Turing", "rtx 20[678]0* | gtx 16##* | mx4#0* | mx550 | titan rtx"),
    ("Volta", "titan v"),
    ("Maxwell", "gtx titan x | mx1[13]0 | gtx 745 | gtx 750* | 9[2-6]0mx | 9[3-6]#m | 9[3-6]#a"),
    ("Pascal", "titan x | titan xp | gtx 10##* | gt 10##* | mx150 | mx[23]#0"),
    ("Fermi", "gt 61# | gt 62# | gt 705 | 8[12]0m | 6[12]0m | 710m"),
    ("Kepler", "9[12]0m | 9[12]0a | gtx titan* | gtx 8[78]0m | gtx [67]##* | gt [67]##* | 6##m | 7##m"),
    ("Maxwell", "gtx 9##* | 8[3-6]#m | 8[3-4]#a"),
    ("Fermi", "gtx [45]##* | gts 4##* | gt [45]##*"),
    ("Tesla", "gtx 2## | gtx 2##m | gts 2##* | gt 2##* | gt 3##* | geforce [89]### | geforce 3##*"),
    // Workstations.
    ("Maxwell", "quadro k620* | quadro k1200 | quadro k2200* | quadro m* | nvs 810"),
    ("Kepler", "quadro k* | nvs 5[12]0 | quadro 410"),
    ("Volta", "quadro gv100"),
    ("Pascal", "quadro p* | quadro gp100"),
    ("Turing", "quadro rtx | quadro t* | t[4-9][05]0 | t1[02]00 | t4 | t4g | t40"),
    (AMPERE, "rtx a#*"),
    // Data centers; "Tesla" is a product line here, not the architecture.
    ("Maxwell", "m4 | m40 | m6 | m60 | m10 | grid m*"),
    ("Kepler", "k10 | k20* | k40* | k80 | grid k*"),
    ("Pascal", "p4 | p6 | p40 | p100 | p10[246]"),
    ("Volta", "v100* | cmp 100"),
    (AMPERE, "a100* | a800* | a30* | a40* | a10 | a10[gm] | a16 | a2 | cmp [79]0hx | cmp 170hx"),
    ("Ada Lovelace", "l2 | l4 | l20 | l40* | titan ada"),
    ("Turing", "cmp [345]0hx"),
];

const AMD: &[Line] = &[
    // Mesa's chips, LLVM's targets, Dawn's words.
    ("GCN1", "tahiti | pitcairn | verde | cape verde | oland | hainan | gfx60# | gcn 1"),
    ("GCN2", "bonaire | hawaii | kaveri | kabini | mullins | gfx70# | gcn 2"),
    ("GCN3", "iceland | topaz | tonga | fiji | carrizo | stoney | gfx801 | gfx802 | gcn 3"),
    ("GCN4", "polaris* | vegam | gcn 4 | vega m | baffin | ellesmere | lexa"),
    ("RDNA1", "navi1#* | navi 1#* | gfx101# | rdna 1"),
    ("RDNA2", "navi2#* | navi 2#* | gfx103# | rdna 2 | vangogh | van gogh | rembrandt | raphael* | mendocino"),
    ("RDNA3.5", "gfx115# | strix* | krackan* | gorgon* | rdna 3 5"),
    ("RDNA3", "navi3#* | navi 3#* | gfx110# | rdna 3 | phoenix* | hawkpoint* | hawk point"),
    ("RDNA4", "navi4#* | navi 4#* | gfx120# | rdna 4"),
    ("CDNA1", "arcturus | gfx908 | mi100 | cdna 1"),
    ("CDNA2", "aldebaran | gfx90a | mi2##* | cdna 2"),
    ("CDNA3", "aqua vanjaram | gfx94# | mi30#* | mi325* | cdna 3"),
    ("CDNA4", "gfx950 | mi35#* | cdna 4"),
    ("GCN5", "vega* | raven* | picasso | renoir | lucienne | cezanne | barcelo | gfx90# | gfx90c | gcn 5"),
    ("TeraScale2", "terascale 2 | cypress | juniper | redwood | cedar | barts | turks | caicos | sumo*"),
    ("TeraScale3", "terascale 3 | cayman | aruba"),
    // Cards.
    ("RDNA4", "rx 90[0-9]0* | r9[6-7]00*"),
    ("RDNA3", "rx 7[3-9]##* | pro w7###* | v710"),
    ("RDNA2", "rx 6[3-9]##* | pro w6###* | pro w6###m | v620"),
    ("RDNA1", "rx 5[3-7]00* | pro w5[357]00* | pro 5[3-7]00* | v520 | bc 250"),
    ("GCN5", "radeon vii | pro vii | wx 8[12]00 | wx 9100 | mi25 | mi50 | mi60 | v340 | v320"),
    ("GCN4", "rx 4##* | rx 5##* | pro 4##* | pro 5##* | wx ####* | radeon 5[45]0x | e9###* | mi6"),
    ("GCN3", "fury* | nano | r9 38#* | r9 285* | r9 m295x | r9 m39[05]x | r9 m395 | w7100 | s71##* | mi8"),
    ("GCN2", "r9 39#* | r9 29#* | r9 26#* | r9 360 | r7 260* | r7 36#* | r9 m280x | r9 m38#* | w[589]100 | hd 7790"),
    ("GCN1", "r9 2[78]#* | r9 37#* | r9 255 | r9 m2##* | r9 m37#* | r9 m390 | r7 2[45]0* | r7 3[457]0* | r5 340*"),
    ("GCN1", "d[357]00 | w[256]000 | w[5-9]000 | w4[01]* | w2100 | w600 | s[79]000 | s10000"),
    ("TeraScale3", "hd [78]###g | hd [78]###d | hd 69[3579]0"),
    ("GCN2", "hd 8[24]#0 | hd 8[24]#0e | hd 8280g"),
    ("GCN1", "hd 7[789]##* | hd 8[5-9]##*"),
    ("TeraScale2", "hd [56]###* | hd 7[3-6]##* | hd 8[34]50"),
    ("TeraScale1", "hd [234]###*"),
    // Processors with graphics.
    ("RDNA3.5", "8[24689]0m | 80[456]0s"),
    ("RDNA3", "7[468]0m"),
    ("RDNA2", "6[168]0m | custom gpu 0405 | custom gpu 0932"),
];

const INTEL: &[Line] = &[
    // Mesa's and Dawn's words, platforms.
    ("Gen6", "snb | sandybridge | sandy bridge | gen 6"),
    ("Gen7", "ivb | hsw | byt | ivybridge | ivy bridge | haswell | bay trail | baytrail | gen 7"),
    ("Gen8", "bdw | chv | bsw | broadwell | cherryview | cherrytrail | braswell | gen 8"),
    ("Gen9", "skl | bxt | apl | kbl | glk | cfl | whl | aml | cml | skylake | broxton | kabylake | kaby lake | gen 9"),
    ("Gen9", "apollo lake | geminilake | gemini lake | coffeelake | coffee lake | comet lake | cometlake"),
    ("Gen11", "icl | ehl | jsl | icelake | ice lake | elkhart lake | elkhartlake | jasper lake | jasperlake | gen 11"),
    ("Gen12LP", "tgl | rkl | adl | rpl | dg1 | sg1 | tiger lake | tigerlake | rocket lake | gen 12lp"),
    ("Gen12LP", "alder lake | alderlake | raptor lake | raptorlake"),
    ("Xe-HPG", "dg2 | acm | alchemist | gen 12hp | flex #*"),
    ("Xe-HPC", "pvc | ponte vecchio | gpu max"),
    ("Xe-LPG", "mtl | arl | meteor lake | arrow lake | xe lpg"),
    ("Xe2", "lnl | bmg | lunar lake | battlemage | xe 2lpg | xe 2hpg | gen 13lp | gen 13hp"),
    ("Xe3", "ptl | wcl | nvl | panther lake | wildcat lake | xe 3*"),
    // Products.
    ("Xe-HPG", "arc a###* | arc pro a##* | a200m"),
    ("Xe3", "arc b3[79]0*"),
    ("Xe2", "arc b###* | arc pro b##* | 1[34]0v"),
    ("Xe-LPG", "1[34]0t | arc graphics"),
    ("Gen12LP", "iris xe | graphics 7[1357]0 | graphics p750"),
    ("Gen9", "graphics 5## | graphics p5## | graphics 6## | graphics p6##"),
    ("Gen8", "graphics 40[05] | graphics 5[3-7]00 | graphics p5700 | graphics 6[0-2]00 | graphics p6300"),
    ("Gen7", "graphics 2500 | graphics 4### | graphics p4###* | graphics 5000 | graphics 5[12]00"),
    ("Gen6", "graphics [23]000"),
    ("Gen11", "graphics g[1-7] | iris plus"),
];

const QUALCOMM: &[Line] = &[
    (ADRENO[5], "adreno 7xx | adreno 7## | x1 [48]5 | x elite | x plus"),
    (ADRENO[6], "adreno 8xx | adreno 8## | x2 [0-9]*"),
    (ADRENO[4], "adreno 6xx | adreno 6## | 8cx* | 7c | 8c"),
    (ADRENO[3], "adreno 5xx | adreno 5##"),
    (ADRENO[2], "adreno 4xx | adreno 4##"),
    (ADRENO[1], "adreno 3xx | adreno 3##"),
    (ADRENO[0], "adreno 2xx | adreno 2##"),
];

const ARM: &[Line] = &[
    ("Utgard", "mali 4##*"),
    (MIDGARD, "t[678]##* | midgard"),
    (BIFROST, "g31* | g5[12]* | g7[126] | g7[126][a-z]* | bifrost"),
    (FIFTH_GEN, "g62[05] | g72[05] | g925 | g1 | gen 5"),
    (VALHALL, "g57* | g68* | g7[78]* | g310 | g[56]10 | g615 | g71[05] | valhall"),
];

const IMAGINATION: &[Line] = &[
    ("PowerVR SGX", "sgx*"),
    ("PowerVR Furian", "gt8###* | gt9###* | furian"),
    (ROGUE, "rogue | ge8###* | ge9###* | gm9###* | gx6###* | g6###* | gt7###*"),
    ("PowerVR A-Series", "ax[emt] | a series"),
    ("PowerVR B-Series", "bx[emst] | b series | albiorix"),
    ("PowerVR C-Series", "cx[emt] | c series"),
    ("PowerVR D-Series", "dx[emst] | d series"),
];

const APPLE: &[Line] = &[
    ("M1", "m1"),
    ("M2", "m2"),
    ("M3", "m3"),
    ("M4", "m4"),
    ("M5", "m5"),
    ("A7", "a7"),
    ("A8", "a8 | a8x"),
    ("A9", "a9 | a9x"),
    ("A10", "a10 | a10x"),
    ("A11", "a11"),
    ("A12", "a12 | a12x | a12z"),
    ("A13", "a13"),
    ("A14", "a14"),
    ("A15", "a15"),
    ("A16", "a16"),
    ("A17", "a17"),
    ("A18", "a18"),
    ("A19", "a19"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_well_formed() {
        let vendors = ARCHITECTURES.iter().flat_map(|(_, lines)| *lines);
        for (name, patterns) in
            vendors.chain(SOFTWARE).chain(SOFTWARE_NAMES).chain(VIRTUAL).chain(VIRTUAL_NAMES).chain(VENDORS)
        {
            for pattern in patterns.split('|') {
                assert!(!pattern.trim().is_empty(), "{name}: an empty pattern");
                for word in pattern.split_whitespace() {
                    let rest = word.strip_suffix('*').unwrap_or(word);
                    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "#[-]".contains(c);
                    assert!(rest.chars().all(letters), "{name}: {word}");
                    assert_eq!(rest.matches('[').count(), rest.matches(']').count(), "{name}: {word}");
                }
            }
        }
    }
}
