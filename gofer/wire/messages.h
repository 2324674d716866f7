// The messages between sentry (client) and gofer (server): fixed little-endian structs, one request
// and one reply per datagram of a SOCK_SEQPACKET socket; a donated descriptor rides with its reply
// as SCM_RIGHTS. The code that builds and serves messages knows only flat buffers, so the same
// messages can travel through shared memory.
//
// Only directories (and files that were unlinked while in use) have node ids. Everything else is
// addressed as (directory, name): a Target. Each reply that names a node gives the client one more
// reference of it; Forget returns them. Ids are never reused.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gofer/wire/codec.h"

namespace gofer::wire {

inline constexpr size_t kMaxMessage = 72 << 10;
inline constexpr size_t kMaxName = 255;         // NAME_MAX
inline constexpr size_t kMaxLinkTarget = 4095;  // PATH_MAX without the NUL
inline constexpr size_t kMaxWalkNames = 64;
inline constexpr size_t kMaxPathNames = 15;  // shorter than PATH_MAX, whatever the names are
inline constexpr size_t kMaxForget = 1024;
inline constexpr size_t kMaxListed = 128;        // directories in one reply
inline constexpr size_t kMaxDescriptors = 32;    // donated with one reply
inline constexpr size_t kMaxXattrName = 255;     // XATTR_NAME_MAX
inline constexpr size_t kMaxXattrValue = 65536;  // XATTR_SIZE_MAX, XATTR_LIST_MAX

using NodeId = uint64_t;
inline constexpr NodeId kNoNode = 0;

// Request body (after RequestHeader) -> reply body (after ReplyHeader with error 0). `target` is
// Put(NodeId), String(name); an empty name means the node itself. `name` is String, never empty.
// `path` is u32 n, n names: of a directory below the node, or the node itself.
enum class Op : uint32_t {
  kAttach = 1,  // u32 mount                                  -> AttachReply
  kWalk =
      2,  // node, u32 WalkFlags, u32 n, n names        -> WalkReplyHead, WalkEntry[count], String
          // link target;
          //                                               a descriptor if asked for and possible
  kGetattr = 3,  // target                                     -> Attr
  kSetattr = 4,  // target, SetattrArgs                        -> Attr
  kOpen = 5,     // target, u32 OpenFlags                      -> Attr; descriptor
  kCreate = 6,   // dir, name, CreateArgs                      -> CreateReply; descriptor
  kMkdir = 7,    // dir, name, OwnerMode                       -> WalkEntry
  kSymlink = 8,  // dir, name, OwnerMode, String target        -> Attr
  kLink = 9,     // target, dir, name                          -> Attr
  kMknod = 10,   // dir, name, OwnerMode                       -> Attr
  kUnlink = 11,  // dir, name, u32 UnlinkFlags                 -> u64 node of the removed object, or
                 // kNoNode
  kRename = 12,  // dir, name, dir, name, u32 flags, u32 pin   -> u64 node of what was replaced, or
                 // kNoNode
  kReadlink = 13,   // target                                     -> String
  kReaddir = 14,    // node, u64 cookie, u32 max bytes, u32 ListFlags -> ReaddirHead, entry[count]
  kStatfs = 15,     // node                                       -> Statfs
  kFsync = 16,      // target, u32 data only                      -> nothing
  kSyncFs = 17,     // node                                       -> nothing
  kGetXattr = 18,   // target, name                               -> Blob
  kSetXattr = 19,   // target, name, u32 XATTR_* flags, Blob      -> nothing
  kListXattr = 20,  // target                                     -> Blob (names, each ended by NUL)
  kRemoveXattr = 21,  // target, name                               -> nothing
  kForget = 22,       // u32 n, n ForgetEntry                       -> no reply at all
  kFlush = 23,  // nothing                                    -> nothing; after all earlier messages
  kList = 24,   // node, path, u32 max directories, u32 ListFlags, u32 n, n names
                //                                            -> u32 count,
                //                                               (Listed, entry[entries])[count]
  kOpenMany =
      25,  // node, u32 groups, (path, u32 n, n names)[groups]
           //                                            -> u32 n, OpenedFile[n]; descriptors
  // Nothing -> no reply at all. A start is over: the code that it alone needed can go.
  kSettle = 26,
};

struct RequestHeader {
  uint32_t op;  // Op
  uint32_t id;  // chosen by the client, returned in the reply
};

struct ReplyHeader {
  uint32_t id;
  int32_t error;      // 0 or a positive Linux errno; then nothing follows
  uint32_t fds;       // descriptors that ride with this message, at most kMaxDescriptors
  uint32_t reserved;  // 0
};

// statx(2)'s facts. Device numbers are major << 32 | minor.
struct Attr {
  uint64_t ino;
  uint64_t dev;
  uint64_t rdev;
  uint64_t size;
  uint64_t blocks;  // of 512 bytes
  int64_t atime_sec;
  int64_t mtime_sec;
  int64_t ctime_sec;
  int64_t btime_sec;
  uint32_t atime_nsec;
  uint32_t mtime_nsec;
  uint32_t ctime_nsec;
  uint32_t btime_nsec;
  uint32_t mode;  // type and permission bits
  uint32_t nlink;
  uint32_t uid;
  uint32_t gid;
  uint32_t blksize;
  uint32_t has_btime;
};
static_assert(WireType<Attr> && sizeof(Attr) == 112);

enum MountFlags : uint32_t { kMountReadOnly = 1, kMountShared = 2 };

struct AttachReply {
  NodeId node;     // of the root; for a mounted file too
  uint32_t flags;  // MountFlags
  uint32_t reserved;
  Attr attr;
};

// kWalkOpen: if every name was resolved and the last is a regular file, donate it, opened for
// reading.
enum WalkFlags : uint32_t { kWalkOpen = 1 };

enum class WalkStop : uint32_t {
  kDone = 0,          // every name was resolved
  kMissing = 1,       // names[count] does not exist
  kSymlink = 2,       // entry count-1 is a symlink; its target follows
  kNotDirectory = 3,  // entry count-1 is no directory, but names are left
  kError = 4,         // names[count] failed with `error`
};

struct WalkReplyHead {
  uint32_t count;  // resolved names
  uint32_t stop;   // WalkStop
  int32_t error;
  uint32_t reserved;
};

struct WalkEntry {
  NodeId node;  // kNoNode unless a directory
  Attr attr;
};

enum SetattrValid : uint32_t {
  kSetMode = 1,
  kSetUid = 2,
  kSetGid = 4,
  kSetSize = 8,
  kSetAtime = 16,
  kSetMtime = 32,
  kSetAtimeNow = 64,
  kSetMtimeNow = 128,
};
inline constexpr uint32_t kSetattrAll = 255;

// Applied in the order size, owner, mode, times; a failure in the middle leaves the earlier ones
// done.
struct SetattrArgs {
  uint32_t valid;
  uint32_t mode;  // 07777 only
  uint32_t uid;
  uint32_t gid;
  uint64_t size;
  int64_t atime_sec;
  int64_t mtime_sec;
  uint32_t atime_nsec;
  uint32_t mtime_nsec;
};

// At least one of read and write. The descriptor is of a regular file, without any status flag that
// matters to the sentry; everything but a regular file is refused with the errno that says what it
// is (EISDIR, ELOOP, ENXIO for the rest).
enum OpenFlags : uint32_t { kOpenRead = 1, kOpenWrite = 2, kOpenTruncate = 4, kOpenExclusive = 8 };

struct CreateArgs {
  uint32_t flags;  // OpenFlags; without kOpenExclusive an existing regular file is opened instead
  uint32_t mode;   // 07777 only; exactly what the file gets
  uint32_t uid;
  uint32_t gid;
};

struct CreateReply {
  uint32_t created;  // 0: the file was there already
  uint32_t reserved;
  Attr attr;
};

// Of a new object. The umask has been applied; the mode of Mknod carries the type (S_IFIFO,
// S_IFSOCK, S_IFREG).
struct OwnerMode {
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
};

// kUnlinkPin: the client still uses the object: keep it reachable under a node id.
enum UnlinkFlags : uint32_t { kUnlinkDirectory = 1, kUnlinkPin = 2 };

struct ReaddirHead {
  uint32_t count;
  uint32_t end;  // 1: nothing follows these entries
};

// kListAttributes: entries come with attributes. Without it those of directories do all the same,
// and those whose type getdents64(2) doesn't say.
enum ListFlags : uint32_t { kListAttributes = 1 };

// An entry, never "." or "..": DirEntry, Attr if has_attr, String name. Attributes are as lstat(2)
// would give them; some may not be had.
struct DirEntry {
  uint64_t cookie;    // where to go on after this entry
  uint64_t ino;       // as getdents64(2) says, like the type
  uint32_t type;      // DT_*
  uint32_t has_attr;  // 0 or 1
};

// A whole directory. kList: those named, in the directory at path, in this order, each followed by
// the directories below it, depth first, for as long as they fit into the message and their number.
// One that is left out, for whatever reason, is to be asked for by itself.
struct Listed {
  uint32_t in;     // the entry is this one of an earlier directory of the reply; kRequested: a name
  uint32_t index;  // of the entry there, or of the name in the request
  uint32_t entries;
  uint32_t reserved;
};
inline constexpr uint32_t kRequested = UINT32_MAX;

// kOpenMany: files opened for reading, in directories below the node; at most kMaxDescriptors.
// error as kOpen has it, or EAGAIN if the directory could not be had.
struct OpenedFile {
  int32_t error;  // 0: a descriptor comes with it, and attr counts
  uint32_t reserved;
  Attr attr;
};

struct Statfs {
  uint64_t type;
  uint64_t bsize;
  uint64_t blocks;
  uint64_t bfree;
  uint64_t bavail;
  uint64_t files;
  uint64_t ffree;
  uint64_t fsid;
  uint64_t namelen;
  uint64_t frsize;
};

struct ForgetEntry {
  NodeId node;
  uint64_t count;
};

static_assert(WireType<RequestHeader> && WireType<ReplyHeader> && WireType<AttachReply>);
static_assert(WireType<WalkReplyHead> && WireType<WalkEntry> && WireType<SetattrArgs>);
static_assert(WireType<CreateArgs> && WireType<CreateReply> && WireType<OwnerMode>);
static_assert(WireType<ReaddirHead> && WireType<DirEntry> && WireType<Statfs>);
static_assert(WireType<ForgetEntry> && WireType<Listed> && WireType<OpenedFile>);

}  // namespace gofer::wire
