/** PRELOGIN (MS-TDS 2.2.6.5): the messages that client and server exchange before TLS and the login. */

import { NotSqlServer } from './packets.ts'

const OPTION = { version: 0, encryption: 1, instance: 2, threadId: 3, mars: 4, fedAuthRequired: 6, end: 0xff } as const
/** Token, offset and length of one option. */
const ENTRY_BYTES = 5

/**
 * How a side wants to encrypt. `off`: the login only; `on`: the session; `not-supported`: nothing, or under
 * TDS 8.0 that TLS is there already; `required`: the session, and without it there is none.
 */
export type Encryption = 'off' | 'on' | 'not-supported' | 'required'

const ENCRYPTION: readonly Encryption[] = ['off', 'on', 'not-supported', 'required']

export interface PreloginRequest {
  readonly encryption: Encryption
  /** Whether the login will hold a token; the server then answers whether it requires one. */
  readonly federated: boolean
}

export interface PreloginAnswer {
  readonly encryption: Encryption
  /** The login must repeat it (fFedAuthEcho, MS-TDS 2.2.6.4). */
  readonly fedAuthRequired: boolean
}

/** The body of our PRELOGIN message. */
export function preloginRequest({ encryption, federated }: PreloginRequest): Buffer {
  const options: (readonly [token: number, value: Buffer])[] = [
    // The client's version, which no server looks at.
    [OPTION.version, Buffer.alloc(6)],
    [OPTION.encryption, Buffer.from([ENCRYPTION.indexOf(encryption)])],
    // An instance's name to be compared with the server's; an empty one fits all.
    [OPTION.instance, Buffer.alloc(1)],
    [OPTION.threadId, Buffer.alloc(4)],
    [OPTION.mars, Buffer.alloc(1)],
    ...(federated ? [[OPTION.fedAuthRequired, Buffer.from([1])] as const] : []),
  ]
  const head = Buffer.alloc(options.length * ENTRY_BYTES + 1, OPTION.end)
  let offset = head.length
  for (const [index, [token, value]] of options.entries()) {
    head[index * ENTRY_BYTES] = token
    head.writeUInt16BE(offset, index * ENTRY_BYTES + 1)
    head.writeUInt16BE(value.length, index * ENTRY_BYTES + 3)
    offset += value.length
  }
  return Buffer.concat([head, ...options.map(([, value]) => value)])
}

/** @throws NotSqlServer when the bytes are no answer to PRELOGIN */
export function readPreloginAnswer(body: Buffer): PreloginAnswer {
  const byteOf = (wanted: number): number | undefined => {
    for (let at = 0; body[at] !== OPTION.end; at += ENTRY_BYTES) {
      if (at + ENTRY_BYTES > body.length)
        throw new NotSqlServer('an answer to PRELOGIN whose list of options has no end')
      if (body[at] === wanted) return body[body.readUInt16BE(at + 1)]
    }
    return undefined
  }
  const encryption = ENCRYPTION[byteOf(OPTION.encryption) ?? -1]
  if (encryption === undefined) throw new NotSqlServer('an answer to PRELOGIN without the option ENCRYPTION')
  return { encryption, fedAuthRequired: byteOf(OPTION.fedAuthRequired) === 1 }
}
