//! A working directory in which a test runs the program, and a function that reads the events that `mine` prints.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

/// The folder of a small model, which was generated from a seed. The model has 7,680 ternary weights.
pub const SMALL_MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/small_model");

/// A temporary folder with a small model, a text of six chunks, and a subfolder for the program's data. Dropping this
/// value deletes the folder.
pub struct WorkDir(PathBuf);

impl WorkDir {
    /// Creates the folder with the model and the text. The folder's name contains `name`: if a test leaves its folder
    /// behind, the name shows which test it was.
    pub fn new(name: &str) -> Self {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let number = CREATED.fetch_add(1, Ordering::Relaxed);
        let work_dir = Self(std::env::temp_dir().join(format!("r3mes-cli-{name}-{}-{number}", std::process::id())));
        let _ = fs::remove_dir_all(&work_dir.0);
        fs::create_dir_all(work_dir.model()).unwrap();
        for name in ["config.json", "model.safetensors"] {
            fs::copy(Path::new(SMALL_MODEL).join(name), work_dir.model().join(name)).unwrap();
        }
        let text: Vec<u8> = (0u32..6 * 2048).map(|i| b'a' + (i * i / 7 % 26) as u8).collect();
        fs::write(work_dir.text(), text).unwrap();
        work_dir
    }

    /// Returns the path of the folder with the model's `config.json` and `model.safetensors`.
    pub fn model(&self) -> PathBuf {
        self.0.join("model")
    }

    /// Returns the path of the text file, from which chunks for training are taken.
    pub fn text(&self) -> PathBuf {
        self.0.join("text.txt")
    }

    /// Returns the path of the folder to pass as `--data-dir`. It does not exist until a test or the program creates
    /// it.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Returns a command of the program, such as `node`, with the model, the text and the data folder of this
    /// directory.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
        command.arg(name).arg("--model").arg(self.model()).arg("--text").arg(self.text());
        command.arg("--data-dir").arg(self.data());
        command
    }

    /// Returns a `mine` command that computes `tasks` tasks for an embedded node, which runs in the same process.
    pub fn mine(&self, tasks: &str) -> Command {
        let mut command = self.command("mine");
        command.args(["--json", "--backend", "cpu", "--rank", "4", "--max-tasks", tasks]);
        command
    }

    /// Returns a `mine` command that computes `tasks` tasks for the node at `url`. The command keeps its data in this
    /// directory.
    pub fn mine_for(&self, url: &str, tasks: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
        command.args(["mine", "--json", "--backend", "cpu", "--max-tasks", tasks, "--node", url]);
        command.arg("--data-dir").arg(self.data());
        command
    }

    /// Returns a `node` command with the same data folder as the command of [`mine`](Self::mine). If `port` is 0, the
    /// node listens on any free port.
    pub fn node(&self, port: &str) -> Command {
        let mut command = self.command("node");
        command.args(["--json", "--backend", "cpu", "--rank", "4", "--listen", &format!("127.0.0.1:{port}")]);
        command
    }

    /// Runs `verify` on the receipt file `receipt` until the command exits. The command recomputes the gradient that
    /// the receipt describes.
    pub fn verify(&self, receipt: &Path) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
        command.args(["verify", "--json", "--backend", "cpu"]).arg(receipt).arg("--model").arg(self.model());
        command.arg("--data-dir").arg(self.data()).output().unwrap()
    }

    /// Returns the paths of all receipt files in the data folder.
    pub fn receipts(&self) -> Vec<PathBuf> {
        let jobs = fs::read_dir(self.data()).unwrap().map(|job| job.unwrap().path().join("receipts"));
        jobs.filter(|dir| dir.is_dir())
            .flat_map(|dir| fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect()
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns the events in the output of `mine --json` that report an accepted gradient. Skips a line that is
/// incomplete because the process was killed.
pub fn accepted(stdout: &[u8]) -> Vec<Value> {
    let lines = stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    lines.filter(|event: &Value| event["event"] == "accepted").collect()
}
