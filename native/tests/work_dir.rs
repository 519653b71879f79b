//! A working directory in which a test runs the program, and the events that `mine` prints.

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

/// Folder of a model with 7,680 ternary weights, which the seeded generator made.
pub const SMALL_MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/small_model");

/// A temporary folder with a small model, a text of six chunks and a path for the program's data. Dropping the value
/// deletes it.
pub struct WorkDir(PathBuf);

impl WorkDir {
    /// Creates the folder. Its name contains `name`, so that a leftover tells which test made it.
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

    /// Returns the path of the model's folder.
    pub fn model(&self) -> PathBuf {
        self.0.join("model")
    }

    /// Returns the path of the text file.
    pub fn text(&self) -> PathBuf {
        self.0.join("text.txt")
    }

    /// Returns the path for `--data-dir`. `new` does not create this folder.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Returns a `mine` command that computes `tasks` tasks against an embedded node.
    pub fn mine(&self, tasks: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
        command.args(["mine", "--json", "--backend", "cpu", "--rank", "4", "--max-tasks", tasks]);
        command.arg("--model").arg(self.model()).arg("--text").arg(self.text());
        command.arg("--data-dir").arg(self.data());
        command
    }

    /// Returns a `node` command over the same data folder as `mine`. Port 0 stands for any free port.
    pub fn node(&self, port: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
        command
            .args(["node", "--json", "--backend", "cpu", "--rank", "4"])
            .arg("--listen")
            .arg(format!("127.0.0.1:{port}"));
        command.arg("--model").arg(self.model()).arg("--text").arg(self.text());
        command.arg("--data-dir").arg(self.data());
        command
    }

    /// Runs `verify` on a receipt.
    pub fn verify(&self, receipt: &Path) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_r3mes-wgpu"));
        command.args(["verify", "--json", "--backend", "cpu"]).arg(receipt).arg("--model").arg(self.model());
        command.arg("--data-dir").arg(self.data()).output().unwrap()
    }

    /// Returns the paths of all receipts in the data folder.
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

/// Returns the events of one `mine --json` run that report an accepted gradient. Lines that a kill has cut short are
/// skipped.
pub fn accepted(stdout: &[u8]) -> Vec<Value> {
    let lines = stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    lines.filter(|event: &Value| event["event"] == "accepted").collect()
}
