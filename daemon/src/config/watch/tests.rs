//! Every kind of save, three rounds each, on a real file system. The poll is out of the way unless it is what is tested.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, channel},
};

use super::*;

/// Rounds of every save: the first one must not be the last one seen.
const ROUNDS: usize = 3;

/// When a change that was not reported counts as lost.
const DEADLINE: Duration = Duration::from_secs(20);

/// Short, so that tests are; the poll is further away than the deadline.
const TIMING: Timing =
    Timing { quiet: Duration::from_millis(60), longest: Duration::from_secs(2), poll: Duration::from_secs(3600) };

type Read = Result<Layers, Diagnostics>;

struct Scene {
    folder: tempfile::TempDir,
    changes: Receiver<Read>,
    watch: Watch,
}

impl Scene {
    /// Lays out a folder, then watches `file` in it.
    fn new(file: &str, lay_out: impl FnOnce(&Path)) -> Self {
        Self::with(file, TIMING, Sight::Kernel, lay_out)
    }

    fn with(file: &str, timing: Timing, sight: Sight, lay_out: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        lay_out(folder.path());
        let path = folder.path().join(file);
        let known = files::read(&path);
        let (tell, changes) = channel();
        let watch = Watch::start_with(&path, &known, timing, sight, move |seen| drop(tell.send(seen)));
        Self { folder, changes, watch: watch.unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn next(&self) -> Read {
        self.changes.recv_timeout(DEADLINE).expect("the change was not seen")
    }

    /// The very next report is `text`: nothing half-written, nothing old, nothing twice.
    fn expect(&self, text: &str) {
        self.expect_all(&[text]);
    }

    /// The very next report is these texts: the file's, then those of its folder.
    fn expect_all(&self, texts: &[&str]) {
        let found = self.next().unwrap_or_else(|found| panic!("{}", found.items[0].message));
        assert_eq!(found.all().map(|(_, layer)| &*layer.text).collect::<Vec<_>>(), texts);
    }
}

fn text(round: usize) -> String {
    format!("[hub]\nmax_topics = {}\n", round + 1)
}

fn plain(folder: &Path) {
    fs::write(folder.join("config.toml"), "# start\n").unwrap();
}

/// Writes beside the file and renames over it.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("tmp");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

#[test]
fn written_in_place() {
    let scene = Scene::new("config.toml", plain);
    for round in 0..ROUNDS {
        fs::write(scene.path("config.toml"), text(round)).unwrap();
        scene.expect(&text(round));
    }
}

#[test]
fn written_slowly_in_place_is_never_seen_by_halves() {
    use std::io::Write;
    let timing = Timing { quiet: Duration::from_millis(250), ..TIMING };
    let scene = Scene::with("config.toml", timing, Sight::Kernel, plain);
    for round in 0..ROUNDS {
        let mut file = fs::File::create(scene.path("config.toml")).unwrap();
        file.write_all(b"[hub]\nmax_to").unwrap();
        // The writer's own pause, which the watch has to outwait.
        std::thread::sleep(Duration::from_millis(100));
        writeln!(file, "pics = {}", round + 1).unwrap();
        drop(file);
        scene.expect(&text(round));
    }
}

#[test]
fn renamed_over() {
    let scene = Scene::new("config.toml", plain);
    for round in 0..ROUNDS {
        replace(&scene.path("config.toml"), &text(round));
        scene.expect(&text(round));
    }
}

#[test]
fn moved_away_and_written_anew() {
    let scene = Scene::new("config.toml", plain);
    for round in 0..ROUNDS {
        fs::rename(scene.path("config.toml"), scene.path("config.toml~")).unwrap();
        fs::write(scene.path("config.toml"), text(round)).unwrap();
        scene.expect(&text(round));
    }
}

#[test]
fn deleted_and_created() {
    let scene = Scene::new("config.toml", plain);
    for round in 0..ROUNDS {
        fs::remove_file(scene.path("config.toml")).unwrap();
        fs::write(scene.path("config.toml"), text(round)).unwrap();
        scene.expect(&text(round));
    }
}

#[test]
fn what_comes_after_a_pause_is_watched_as_long_as_it_is_written() {
    use std::io::Write;
    let timing = Timing { quiet: Duration::from_millis(250), longest: Duration::from_secs(20), ..TIMING };
    let scene = Scene::with("config.toml", timing, Sight::Kernel, plain);
    for round in 0..ROUNDS {
        fs::remove_file(scene.path("config.toml")).unwrap();
        // The writer's own pause, in which the watch looks once and finds nothing.
        std::thread::sleep(Duration::from_millis(400));
        let mut file = fs::File::create(scene.path("config.toml")).unwrap();
        writeln!(file, "[hub]").unwrap();
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(100));
            writeln!(file, "# more").unwrap();
        }
        writeln!(file, "max_topics = {}", round + 1).unwrap();
        drop(file);
        // On a machine that does other things it may be seen that there is none.
        let found = std::iter::repeat_with(|| scene.next()).find_map(Result::ok).unwrap();
        let text = found.all().next().unwrap().1.text.clone();
        assert!(text.ends_with(&format!("max_topics = {}\n", round + 1)), "half of it: {text}");
        fs::write(scene.path("config.toml"), self::text(round)).unwrap();
        scene.expect(&self::text(round));
    }
}

#[test]
fn data_folder_swapped_as_kubernetes_does() {
    let lay_out = |folder: &Path| {
        fs::create_dir(folder.join("..start")).unwrap();
        fs::write(folder.join("..start/config.toml"), "# start\n").unwrap();
        symlink("..start", folder.join("..data")).unwrap();
        symlink("..data/config.toml", folder.join("config.toml")).unwrap();
    };
    let scene = Scene::new("config.toml", lay_out);
    let mut old = "..start".to_owned();
    for round in 0..ROUNDS {
        let new = format!("..{round}");
        fs::create_dir(scene.path(&new)).unwrap();
        fs::write(scene.path(&new).join("config.toml"), text(round)).unwrap();
        symlink(&new, scene.path("..data_tmp")).unwrap();
        fs::rename(scene.path("..data_tmp"), scene.path("..data")).unwrap();
        fs::remove_dir_all(scene.path(&old)).unwrap();
        old = new;
        scene.expect(&text(round));
    }
}

#[test]
fn target_of_a_symlink_replaced_in_another_folder() {
    let lay_out = |folder: &Path| {
        fs::create_dir_all(folder.join("etc")).unwrap();
        fs::create_dir_all(folder.join("store/deep")).unwrap();
        fs::write(folder.join("store/deep/real.toml"), "# start\n").unwrap();
        symlink(folder.join("store/link.toml"), folder.join("etc/config.toml")).unwrap();
        symlink("deep/../deep/real.toml", folder.join("store/link.toml")).unwrap();
    };
    let scene = Scene::new("etc/config.toml", lay_out);
    for round in 0..ROUNDS {
        replace(&scene.path("store/deep/real.toml"), &text(round));
        scene.expect(&text(round));
    }
    // And each link on the way.
    fs::write(scene.path("other.toml"), "# other\n").unwrap();
    fs::remove_file(scene.path("store/link.toml")).unwrap();
    symlink(scene.path("other.toml"), scene.path("store/link.toml")).unwrap();
    scene.expect("# other\n");
    replace(&scene.path("other.toml"), "# other again\n");
    scene.expect("# other again\n");
}

#[test]
fn folder_deleted_and_created_again() {
    let lay_out = |folder: &Path| {
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(folder.join("a/b/config.toml"), "# start\n").unwrap();
    };
    let scene = Scene::new("a/b/config.toml", lay_out);
    for round in 0..ROUNDS {
        fs::remove_dir_all(scene.path("a")).unwrap();
        assert!(scene.next().is_err(), "a file that stays away is reported");
        fs::create_dir_all(scene.path("a/b")).unwrap();
        fs::write(scene.path("a/b/config.toml"), text(round)).unwrap();
        scene.expect(&text(round));
    }
}

#[test]
fn folder_above_moved_away() {
    let lay_out = |folder: &Path| {
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(folder.join("a/b/config.toml"), "# start\n").unwrap();
    };
    let scene = Scene::new("a/b/config.toml", lay_out);
    for round in 0..ROUNDS {
        fs::create_dir_all(scene.path("new/b")).unwrap();
        fs::write(scene.path("new/b/config.toml"), text(round)).unwrap();
        fs::rename(scene.path("a"), scene.path(&format!("old{round}"))).unwrap();
        fs::rename(scene.path("new"), scene.path("a")).unwrap();
        scene.expect(&text(round));
    }
}

#[test]
fn a_file_that_was_not_there_is_seen_when_it_comes() {
    let scene = Scene::new("not/yet/config.toml", |_| {});
    fs::create_dir_all(scene.path("not/yet")).unwrap();
    fs::write(scene.path("not/yet/config.toml"), text(0)).unwrap();
    scene.expect(&text(0));
}

#[test]
fn a_file_that_does_not_parse_is_reported_once_it_rests() {
    let scene = Scene::new("config.toml", plain);
    for round in 0..ROUNDS {
        let broken = format!("[hub\n# {round}");
        fs::write(scene.path("config.toml"), &broken).unwrap();
        scene.expect(&broken);
    }
    fs::write(scene.path("config.toml"), "").unwrap();
    scene.expect("");
    fs::write(scene.path("config.toml"), b"\xff").unwrap();
    assert!(scene.next().is_err());
}

#[test]
fn a_half_file_gets_a_second_chance() {
    let timing = Timing { quiet: Duration::from_secs(1), poll: Duration::from_millis(5), ..TIMING };
    let scene = Scene::with("config.toml", timing, Sight::PollOnly, plain);
    fs::write(scene.path("config.toml"), "[hub]\nmax_to").unwrap();
    // The writer's own pause, long enough for the poll to see the half, short against the quiet period that follows.
    std::thread::sleep(Duration::from_millis(200));
    fs::write(scene.path("config.toml"), text(0)).unwrap();
    scene.expect(&text(0));
}

#[test]
fn equal_text_is_no_change() {
    let scene = Scene::new("config.toml", plain);
    for round in 0..ROUNDS {
        // Were any of these reported, the next expected text would not be the next one.
        replace(&scene.path("config.toml"), "# start\n");
        fs::write(scene.path("unrelated"), "x").unwrap();
        fs::write(scene.path("config.toml"), text(round)).unwrap();
        scene.expect(&text(round));
        fs::write(scene.path("config.toml"), text(round)).unwrap();
        fs::write(scene.path("config.toml"), "# start\n").unwrap();
        scene.expect("# start\n");
    }
}

#[test]
fn a_change_before_the_start_is_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, text(1)).unwrap();
    let (tell, changes) = channel();
    let known = Ok(Layers::of(&path.display().to_string(), &text(0)));
    let _watch = Watch::start(&path, &known, TIMING, move |seen| drop(tell.send(seen))).unwrap();
    assert_eq!(changes.recv_timeout(DEADLINE).unwrap().unwrap().file.text, text(1));
}

#[test]
fn the_poll_sees_what_the_kernel_does_not_tell() {
    let timing = Timing { poll: Duration::from_millis(20), ..TIMING };
    let scene = Scene::with("config.toml", timing, Sight::PollOnly, plain);
    for round in 0..ROUNDS {
        fs::write(scene.path("config.toml"), text(round)).unwrap();
        scene.expect(&text(round));
    }
}

#[test]
fn a_file_that_never_rests_is_read_all_the_same() {
    let timing = Timing { quiet: Duration::from_secs(3600), longest: Duration::from_millis(100), ..TIMING };
    let scene = Scene::with("config.toml", timing, Sight::Kernel, plain);
    for round in 0..ROUNDS {
        fs::write(scene.path("config.toml"), text(round)).unwrap();
        scene.expect(&text(round));
    }
}

#[test]
fn dropping_ends_the_thread() {
    let scene = Scene::new("config.toml", plain);
    let Scene { folder: _folder, changes, watch } = scene;
    drop(watch);
    // The callback owns the only sender; it is gone with the thread.
    assert!(changes.recv().is_err());
}

#[test]
fn a_circle_of_symlinks_ends() {
    let folder = tempfile::tempdir().unwrap();
    symlink("b", folder.path().join("a")).unwrap();
    symlink("a", folder.path().join("b")).unwrap();
    assert!(Way::to(&folder.path().join("a")).folders.contains(folder.path()));
}

#[test]
fn a_text_that_comes_back_after_another_was_read_elsewhere_is_handed_over() {
    let scene = Scene::new("config.toml", |folder| fs::write(folder.join("config.toml"), "a = 0").unwrap());
    let path = scene.path("config.toml");
    fs::write(&path, "a = 1").unwrap();
    scene.watch.saw(&files::read(&path));
    fs::write(&path, "a = 0").unwrap(); // as at the start, and most likely before anybody has looked
    while scene.next().unwrap().file.text != "a = 0" {}
}

fn with_folder(folder: &Path) {
    plain(folder);
    fs::create_dir(folder.join("config.d")).unwrap();
}

#[test]
fn files_of_the_folder_come_change_and_go() {
    let scene = Scene::new("config.toml", with_folder);
    let (a, b) = (scene.path("config.d/a.toml"), scene.path("config.d/b.toml"));
    for round in 0..ROUNDS {
        replace(&b, &text(round));
        scene.expect_all(&["# start\n", &text(round)]);
        fs::write(&a, "# first\n").unwrap();
        scene.expect_all(&["# start\n", "# first\n", &text(round)]);
        fs::write(&b, "# changed\n").unwrap();
        scene.expect_all(&["# start\n", "# first\n", "# changed\n"]);
        fs::rename(&b, scene.path("config.d/c.toml")).unwrap();
        scene.expect_all(&["# start\n", "# first\n", "# changed\n"]);
        fs::remove_file(&a).unwrap();
        scene.expect_all(&["# start\n", "# changed\n"]);
        fs::remove_file(scene.path("config.d/c.toml")).unwrap();
        scene.expect("# start\n");
    }
}

#[test]
fn what_editors_leave_in_the_folder_is_no_change() {
    let scene = Scene::new("config.toml", with_folder);
    for round in 0..ROUNDS {
        // Were any of these reported, the next expected texts would not be the next ones.
        for beside in [".a.toml.swp", "a.toml~", "#a.toml#", ".hidden.toml", "4913", "a.toml.dpkg-new", "toml"] {
            fs::write(scene.path("config.d").join(beside), format!("{round} [")).unwrap();
        }
        symlink("nobody@nowhere:1", scene.path("config.d/.#a.toml")).unwrap();
        fs::create_dir(scene.path("config.d/deep")).unwrap();
        fs::write(scene.path("config.d/deep/a.toml"), "[").unwrap();
        fs::write(scene.path("config.d/a.toml"), text(round)).unwrap();
        scene.expect_all(&["# start\n", &text(round)]);
        fs::remove_file(scene.path("config.d/.#a.toml")).unwrap();
        fs::remove_dir_all(scene.path("config.d/deep")).unwrap();
    }
}

#[test]
fn the_folder_is_deleted_and_created_again() {
    let scene = Scene::new("config.toml", plain);
    for round in 0..ROUNDS {
        fs::create_dir(scene.path("config.d")).unwrap();
        fs::write(scene.path("config.d/a.toml"), text(round)).unwrap();
        scene.expect_all(&["# start\n", &text(round)]);
        fs::remove_dir_all(scene.path("config.d")).unwrap();
        scene.expect("# start\n");
        // Made elsewhere and moved here: the kernel tells of the folder only.
        fs::create_dir(scene.path("new")).unwrap();
        fs::write(scene.path("new/b.toml"), text(round)).unwrap();
        fs::rename(scene.path("new"), scene.path("config.d")).unwrap();
        scene.expect_all(&["# start\n", &text(round)]);
        fs::rename(scene.path("config.d"), scene.path(&format!("old{round}"))).unwrap();
        scene.expect("# start\n");
    }
}

#[test]
fn the_folder_swapped_as_kubernetes_does() {
    let lay_out = |folder: &Path| {
        with_folder(folder);
        fs::create_dir(folder.join("config.d/..start")).unwrap();
        fs::write(folder.join("config.d/..start/a.toml"), "# a\n").unwrap();
        symlink("..start", folder.join("config.d/..data")).unwrap();
        symlink("..data/a.toml", folder.join("config.d/a.toml")).unwrap();
    };
    let scene = Scene::new("config.toml", lay_out);
    let mut old = "config.d/..start".to_owned();
    for round in 0..ROUNDS {
        let new = format!("..{round}");
        let inside = |name: &str| scene.path("config.d").join(name);
        fs::create_dir(inside(&new)).unwrap();
        fs::write(inside(&new).join("a.toml"), text(round)).unwrap();
        symlink(&new, inside("..data_tmp")).unwrap();
        fs::rename(inside("..data_tmp"), inside("..data")).unwrap();
        fs::remove_dir_all(scene.path(&old)).unwrap();
        old = format!("config.d/{new}");
        scene.expect_all(&["# start\n", &text(round)]);
    }
}

#[test]
fn a_file_of_the_folder_between_delete_and_create_is_no_change() {
    let timing = Timing { quiet: Duration::from_secs(1), poll: Duration::from_millis(5), ..TIMING };
    let lay_out = |folder: &Path| {
        with_folder(folder);
        fs::write(folder.join("config.d/a.toml"), "# a\n").unwrap();
    };
    let scene = Scene::with("config.toml", timing, Sight::PollOnly, lay_out);
    fs::remove_file(scene.path("config.d/a.toml")).unwrap();
    // The writer's own pause, long enough for the poll to see the gap, short against the quiet period that follows.
    std::thread::sleep(Duration::from_millis(200));
    fs::write(scene.path("config.d/a.toml"), text(0)).unwrap();
    scene.expect_all(&["# start\n", &text(0)]);
}

#[test]
fn each_new_reason_why_files_cannot_be_read_is_told_once() {
    let scene = Scene::new("config.toml", with_folder);
    let told =
        |scene: &Scene| scene.next().unwrap_err().items.iter().map(|one| one.message.clone()).collect::<Vec<_>>();
    symlink("nowhere", scene.path("config.d/a.toml")).unwrap();
    let a = format!("there is no file `{}`", scene.path("config.d/a.toml").display());
    assert_eq!(told(&scene), [&*a]);
    fs::create_dir(scene.path("config.d/b.toml")).unwrap();
    let b = format!("`{}` is a directory", scene.path("config.d/b.toml").display());
    assert_eq!(told(&scene), [&*a, &*b]);
    fs::remove_dir(scene.path("config.d/b.toml")).unwrap();
    assert_eq!(told(&scene), [&*a]);
    fs::remove_file(scene.path("config.d/a.toml")).unwrap();
    scene.expect("# start\n");
}
