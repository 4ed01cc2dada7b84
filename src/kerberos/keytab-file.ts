/** The content of a keytab as a file has it: version 2 of MIT's format ("The Kerberos keytab binary file format"). */

import { createHash } from 'node:crypto'

/** One key of one version of a principal. */
export interface FileEntry {
  /** In full and quoted as krb5 prints it. */
  readonly principal: string
  /** The key's version. */
  readonly kvno: number
  /** Seconds since the epoch; 0 when the file does not say. */
  readonly timestamp: number
  /** The number of the encryption type. */
  readonly type: number
  readonly key: Buffer
  /** The names as the file has them, for another entry of the same principal. */
  readonly head: Buffer
  /** The whole entry, without its length. */
  readonly bytes: Buffer
}

const MAGIC = 0x0502

/** @throws RangeError for bytes that are no keytab, or a damaged one */
export function readKeytab(bytes: Buffer): FileEntry[] {
  if (bytes.length < 2 || bytes.readUInt16BE(0) !== MAGIC) throw new RangeError('It has another form than version 2')
  const entries: FileEntry[] = []
  for (let at = 2; at + 4 <= bytes.length; ) {
    const size = bytes.readInt32BE(at)
    at += 4
    if (size === 0) break
    const end = at + Math.abs(size)
    if (end > bytes.length) throw new RangeError('It is cut short')
    // A negative length is the place of an entry that was removed.
    if (size > 0) entries.push(readEntry(bytes.subarray(at, end)))
    at = end
  }
  return entries
}

function readEntry(bytes: Buffer): FileEntry {
  let at = 0
  const number = (width: number): number => {
    at += width
    return bytes.readUIntBE(at - width, width)
  }
  const text = (): Buffer => {
    const length = number(2)
    at += length
    if (at > bytes.length) throw new RangeError('An entry is cut short')
    return bytes.subarray(at - length, at)
  }
  const components = number(2)
  const realm = text()
  const names = Array.from({ length: components }, text)
  // The type of the name.
  number(4)
  const head = bytes.subarray(0, at)
  const timestamp = number(4)
  const short = number(1)
  const type = number(2)
  const key = text()
  const long = bytes.length - at >= 4 ? number(4) : 0
  const principal = `${names.map(quoted).join('/')}@${quoted(realm)}`
  return { principal, kvno: long === 0 ? short : long, timestamp, type, key, head, bytes }
}

/** As krb5_unparse_name quotes a part of a name. */
function quoted(part: Buffer): string {
  return part
    .toString()
    .replaceAll(/[\\/@]/g, '\\$&')
    .replaceAll('\n', '\\n')
    .replaceAll('\t', '\\t')
    .replaceAll('\b', '\\b')
    .replaceAll('\0', '\\0')
}

/** Another key for the principal of an entry. */
export function entryFor(
  { principal, head }: Pick<FileEntry, 'principal' | 'head'>,
  key: Pick<FileEntry, 'kvno' | 'timestamp' | 'type' | 'key'>,
): FileEntry {
  const numbers = Buffer.alloc(9)
  numbers.writeUInt32BE(key.timestamp, 0)
  numbers.writeUInt8(key.kvno & 0xff, 4)
  numbers.writeUInt16BE(key.type, 5)
  numbers.writeUInt16BE(key.key.length, 7)
  const version = Buffer.alloc(4)
  version.writeUInt32BE(key.kvno)
  return { principal, head, ...key, bytes: Buffer.concat([head, numbers, key.key, version]) }
}

export function writeKeytab(entries: readonly FileEntry[]): Buffer {
  const parts = entries.flatMap(({ bytes }) => {
    const size = Buffer.alloc(4)
    size.writeInt32BE(bytes.length)
    return [size, bytes]
  })
  return Buffer.concat([Buffer.of(MAGIC >> 8, MAGIC & 0xff), ...parts])
}

/** The greatest key version of a principal; undefined where it has no key. */
export function newestVersion(entries: readonly FileEntry[], principal: string): number | undefined {
  const own = entries.filter((entry) => entry.principal === principal)
  return own.length === 0 ? undefined : Math.max(...own.map(({ kvno }) => kvno))
}

/** SHA-256, in hex, of the keys of the newest version. */
export function keysHash(entries: readonly FileEntry[], principal: string): string {
  const newest = newestVersion(entries, principal)
  const own = entries.filter((entry) => entry.principal === principal && entry.kvno === newest)
  const hash = createHash('sha256')
  for (const { type, key } of own.sort((a, b) => a.type - b.type)) hash.update(`${type}:`).update(key)
  return hash.digest('hex')
}

/**
 * The entries without the versions of a principal that no ticket can need: a ticket is encrypted with a version until
 * the next one is in use, and lives for `keepSeconds` at most.
 *
 * @param now seconds since the epoch
 */
export function withoutOldVersions(
  entries: readonly FileEntry[],
  principal: string,
  { now, keepSeconds }: { readonly now: number; readonly keepSeconds: number },
): FileEntry[] {
  const own = entries.filter((entry) => entry.principal === principal)
  const replacedAt = (kvno: number): number =>
    Math.min(...own.filter((entry) => entry.kvno > kvno).map(({ timestamp }) => timestamp || now))
  return entries.filter((entry) => entry.principal !== principal || replacedAt(entry.kvno) + keepSeconds > now)
}
