/** Part of the TDS server test double: PRELOGIN (MS-TDS 2.2.6.5), read and answered. */

export const ENCRYPT = { off: 0x00, on: 0x01, notSupported: 0x02, required: 0x03 } as const

const OPTION = { version: 0, encryption: 1, instance: 2, threadId: 3, mars: 4, fedAuthRequired: 6, end: 0xff } as const

export interface Prelogin {
  readonly encryption: number
  readonly instance: string
  readonly fedAuthRequired: number | undefined
  /** The client wants several sessions in one connection. */
  readonly mars: boolean
  readonly options: ReadonlyMap<number, Buffer>
}

export function readPrelogin(data: Buffer): Prelogin {
  const options = new Map<number, Buffer>()
  for (let at = 0; at < data.length && data[at] !== OPTION.end; at += 5) {
    const offset = data.readUInt16BE(at + 1)
    options.set(data[at] ?? OPTION.end, data.subarray(offset, offset + data.readUInt16BE(at + 3)))
  }
  const instance = options.get(OPTION.instance) ?? Buffer.alloc(0)
  return {
    encryption: options.get(OPTION.encryption)?.[0] ?? ENCRYPT.notSupported,
    instance: instance.toString('latin1').replace(/\0.*$/s, ''),
    fedAuthRequired: options.get(OPTION.fedAuthRequired)?.[0],
    mars: options.get(OPTION.mars)?.[0] === 1,
    options,
  }
}

export interface PreloginAnswer {
  readonly version: readonly [major: number, minor: number, build: number]
  readonly encryption: number
  readonly instanceMatches: boolean
  readonly fedAuthRequired: boolean
  readonly mars?: boolean
}

export function writePrelogin(answer: PreloginAnswer): Buffer {
  const version = Buffer.alloc(6)
  version[0] = answer.version[0]
  version[1] = answer.version[1]
  version.writeUInt16BE(answer.version[2], 2)
  const options: [number, Buffer][] = [
    [OPTION.version, version],
    [OPTION.encryption, Buffer.from([answer.encryption])],
    [OPTION.instance, Buffer.from([answer.instanceMatches ? 0 : 1])],
    [OPTION.threadId, Buffer.alloc(0)],
    [OPTION.mars, Buffer.from([answer.mars === true ? 1 : 0])],
  ]
  if (answer.fedAuthRequired) options.push([OPTION.fedAuthRequired, Buffer.from([1])])
  const head = Buffer.alloc(options.length * 5 + 1)
  let offset = head.length
  options.forEach(([token, value], index) => {
    head[index * 5] = token
    head.writeUInt16BE(offset, index * 5 + 1)
    head.writeUInt16BE(value.length, index * 5 + 3)
    offset += value.length
  })
  head[head.length - 1] = OPTION.end
  return Buffer.concat([head, ...options.map(([, value]) => value)])
}

/** How server and client agree on encryption (MS-TDS 2.2.6.5, the table of ENCRYPTION). */
export function negotiate(client: number, server: 'off' | 'required' | 'not-supported'): number {
  if (server === 'not-supported') return ENCRYPT.notSupported
  if (client === ENCRYPT.on || client === ENCRYPT.required) return ENCRYPT.on
  if (server === 'required') return ENCRYPT.required
  return client === ENCRYPT.off ? ENCRYPT.off : ENCRYPT.notSupported
}
