import { tmpdir } from 'node:os'
import { describe, expect, test } from 'vitest'
import { networkFileSystem, networkName } from '../../src/store/sqlite/network-file-system.ts'

/** As a kernel says it: local disks, a share below one of them, one more that is mounted over it, and one whose name has a space. */
const mounts = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
40 22 0:45 / /srv/share rw,nosuid,nodev - fuse.sshfs files:/srv rw,user_id=0
41 40 8:2 / /srv/share/local rw - ext4 /dev/sdb1 rw
42 22 0:46 / /srv/my\\040bucket rw - fuse.s3fs s3fs rw
43 22 0:47 / /srv/disk rw - fuseblk /dev/sdc1 rw
44 22 0:48 / /srv/crypt rw - fuse.gocryptfs /dev/sdd1 rw
45 22 0:49 / /srv/twice rw - fuse.gocryptfs a rw
46 45 0:50 / /srv/twice rw - fuse.rclone b rw
`
const FUSE = 0x65735546
const over = (path: string, text = mounts) => networkName(FUSE, path, () => text)
const never = (): string => {
  throw new Error('the mounts were read')
}

describe('a network file system', () => {
  test.each([
    [0x6969, 'nfs'],
    [0xff534d42, 'cifs'],
    [-11317950, 'cifs'],
    [0xfe534d42, 'smb2'],
    [0x00c36400, 'ceph'],
  ])('is known by the number that the kernel has for it: %i', (type, name) => {
    expect(networkName(type, '/srv', never)).toBe(name)
  })

  test.each([
    [0xef53, 'ext4'],
    [0x58465342, 'xfs'],
    [0x9123683e, 'btrfs'],
    [0x01021994, 'tmpfs'],
    [0x794c7630, 'overlayfs'],
    [0x01021997, '9p, a virtual machine’s own disk'],
  ])('is none with %i (%s)', (type) => {
    expect(networkName(type, '/srv', never)).toBeUndefined()
  })

  test('over FUSE is known by the name of the innermost mount', () => {
    expect(over('/srv/share')).toBe('sshfs')
    expect(over('/srv/share/a/b')).toBe('sshfs')
    expect(over('/srv/my bucket/data')).toBe('s3fs')
    expect(over('/srv/twice/data')).toBe('rclone')
  })

  test('over FUSE is none where the mount is a disk, or only looks like a share by its path', () => {
    for (const path of ['/srv/disk/data', '/srv/crypt/data', '/srv/share/local/data', '/srv/shared', '/srv/my']) {
      expect([path, over(path)]).toEqual([path, undefined])
    }
  })

  test('is none where the system says nothing that can be read', () => {
    for (const text of ['', '\n', 'nonsense', ' - ', '1 2 3 4 / rw']) expect(over('/srv', text)).toBeUndefined()
    expect(networkFileSystem('/there/is/no/such/directory')).toBeUndefined()
  })

  test('is not what tests run on, and this is asked of the real system', () => {
    expect(networkFileSystem(tmpdir())).toBeUndefined()
  })
})
