//! What the kernel tells of the ways to the configuration's files, and no more than that: a folder says who comes and goes
//! in it, a file on the way who writes into it. What is written into other files beside it wakes nobody.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    io::Errno,
};

use super::way::Way;

/// Events that are read at once: some dozen with their names.
const BUFFER_BYTES: usize = 4096;

/// A watch on the ways as they were when it began.
pub(super) struct Kernel {
    events: OwnedFd,
    way: Way,
    /// What each watch is on.
    watched: BTreeMap<i32, PathBuf>,
}

impl Kernel {
    pub(super) fn watch(way: &Way) -> io::Result<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut watched = BTreeMap::new();
        // Folders first: a file that takes the place of another one meanwhile is told.
        let folders = way.folders.iter().map(|folder| (folder, of_folders()));
        let files = way.steps.difference(&way.folders).map(|file| (file, of_files()));
        for (path, flags) in folders.chain(files) {
            match inotify::add_watch(&events, path, flags) {
                Ok(watch) => _ = watched.insert(watch, path.clone()),
                // A folder above may be closed to us, and one may vanish in this moment; the poll covers both.
                Err(error) => {
                    tracing::debug!(%error, path = %path.display(), "this step on the way to the config is not watched");
                }
            }
        }
        Ok(Self { events, way: way.clone(), watched })
    }

    /// Reads what has happened, and says whether it concerns the configuration.
    pub(super) fn is_concerned(&self) -> bool {
        let mut is_concerned = false;
        let read = self.read(|event| is_concerned |= self.concerns(event));
        is_concerned || read.is_err() // whatever it was, looking does no harm
    }

    fn read(&self, mut each: impl FnMut(&inotify::Event<'_>)) -> rustix::io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut events = Reader::new(&self.events, &mut buffer);
        loop {
            match events.next() {
                Ok(event) => each(&event),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn concerns(&self, event: &inotify::Event<'_>) -> bool {
        if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
            return true;
        }
        let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
        match (self.watched.get(&event.wd()), name) {
            (Some(folder), Some(name)) => self.way.has(&folder.join(name)),
            (Some(_), None) => true, // the folder or the file itself
            (None, _) => false,
        }
    }
}

impl AsFd for Kernel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

fn of_folders() -> WatchFlags {
    let others = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
    // Rights that change, too: what could be read may be closed now.
    others | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ATTRIB | WatchFlags::ONLYDIR
}

fn of_files() -> WatchFlags {
    // Where a symlink leads to is a step of its own.
    WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB | WatchFlags::DONT_FOLLOW
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// How many events there are about what lies in this folder: those above it are everybody's.
    fn events(kernel: &Kernel, folder: &Path) -> usize {
        let mut count = 0;
        let read = kernel.read(|event| count += usize::from(kernel.watched[&event.wd()].starts_with(folder)));
        read.map(|()| count).unwrap()
    }

    fn watch(file: &Path) -> Kernel {
        Kernel::watch(&Way::to(file)).unwrap()
    }

    #[test]
    fn what_is_written_beside_the_file_and_who_reads_it_wakes_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let (file, log) = (folder.path().join("config.toml"), folder.path().join("busy.log"));
        let layers = folder.path().join("config.d");
        fs::create_dir(&layers).unwrap();
        for path in [&file, &log, &layers.join("a.toml"), &layers.join("a.toml~")] {
            fs::write(path, "# start\n").unwrap();
        }
        let kernel = watch(&file);
        for round in 0..100 {
            fs::write(&log, format!("{round}\n")).unwrap();
            fs::write(layers.join("a.toml~"), format!("{round}\n")).unwrap();
            fs::read(&file).unwrap();
            fs::read_dir(folder.path()).unwrap().for_each(drop);
        }
        assert_eq!(events(&kernel, folder.path()), 0);
        fs::write(folder.path().join("other"), "").unwrap();
        assert_eq!(events(&kernel, folder.path()), 1, "one that comes may be a step of the way");
        fs::write(folder.path().join("another"), "").unwrap();
        assert!(!kernel.is_concerned(), "which it is not");
        for ours in [&file, &layers.join("a.toml")] {
            fs::write(ours, "# changed\n").unwrap();
            assert!(kernel.is_concerned(), "{}", ours.display());
        }
        assert!(!kernel.is_concerned(), "all of it was read");
    }

    #[test]
    fn more_than_the_kernel_keeps_concerns_us() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = watch(&folder.path().join("config.toml"));
        let most: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&a, "").unwrap();
        for _ in 0..=most / 4 {
            fs::rename(&a, &b).unwrap();
            fs::rename(&b, &a).unwrap();
        }
        assert!(kernel.is_concerned());
    }
}
