import { readFileSync, realpathSync, statfsSync } from 'node:fs'

/**
 * What Linux says of a path that is on a network file system. Those of virtual machines' own disks (9p, virtiofs) are not among them.
 * @see https://man7.org/linux/man-pages/man2/statfs.2.html
 */
const TYPES: ReadonlyMap<number, string> = new Map([
  [0x6969, 'nfs'],
  [0x517b, 'smb'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'smb2'],
  [0x564c, 'ncp'],
  [0x5346414f, 'afs'],
  [0x6b414653, 'afs'],
  [0x73757245, 'coda'],
  [0x00c36400, 'ceph'],
  [0x0bd00bd0, 'lustre'],
  [0x47504653, 'gpfs'],
  [0x19830326, 'beegfs'],
  [0x20030528, 'orangefs'],
])

/** One number for all of them; which it is, the mount's name says. */
const FUSE = 0x65735546
const OVER_FUSE =
  /^fuse\.(sshfs|nfs|smbnetfs|s3fs|s3ql|rclone|gcsfuse|goofys|geesefs|mountpoint-s3|blobfuse2?|glusterfs|ceph-fuse|davfs2?|curlftpfs|juicefs|seaweedfs|weed|mfs|moosefs|lizardfs|hdfs|cvmfs2?)$/

/** The name of the network file system that a file or directory is on; undefined for a local one, and where the system doesn't say. */
export function networkFileSystem(path: string): string | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    const { type } = statfsSync(path)
    return networkName(type, realpathSync(path), () => readFileSync('/proc/self/mountinfo', 'utf8'))
  } catch {
    return undefined // What is wrong with it shows when the file is opened.
  }
}

/**
 * @param type of the file system, as statfs has it; some kernels' are signed
 * @param path absolute, without symbolic links
 * @param mounts the text of `/proc/self/mountinfo`
 */
export function networkName(type: number, path: string, mounts: () => string): string | undefined {
  const unsigned = type >>> 0
  if (unsigned !== FUSE) return TYPES.get(unsigned)
  return OVER_FUSE.exec(mountedAt(path, mounts()) ?? '')?.[1]
}

/** The type of the innermost mount that a path is on, as `fuse.sshfs`. */
function mountedAt(path: string, mounts: string): string | undefined {
  let innermost = ''
  let type: string | undefined
  for (const line of mounts.split('\n')) {
    const [before = '', after = ''] = line.split(' - ')
    const point = before
      .split(' ')[4]
      ?.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)))
    if (point === undefined || point.length < innermost.length) continue
    if (point !== '/' && path !== point && !path.startsWith(`${point}/`)) continue
    innermost = point
    type = after.split(' ')[0]
  }
  return type
}
