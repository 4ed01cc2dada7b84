/** Part of the TDS server test double: LOGIN7 (MS-TDS 2.2.6.4), read. */

export interface FedAuthRequest {
  readonly data: Buffer
  readonly library: 'security-token' | 'adal'
  /** The client confirms that the PRELOGIN answer asked for federated authentication. */
  readonly echo: boolean
  readonly token?: string
  readonly workflow?: 'password' | 'integrated'
}

export interface Login7 {
  readonly tdsVersion: number
  readonly packetSize: number
  readonly hostName: string
  readonly user: string
  readonly password: string
  readonly applicationName: string
  readonly serverName: string
  readonly libraryName: string
  /** Major, minor, patch and build, from the highest byte on. */
  readonly clientVersion: number
  readonly clientId: Buffer
  readonly language: string
  readonly database: string
  readonly newPassword: string
  readonly integratedSecurity: boolean
  readonly readOnlyIntent: boolean
  readonly sspi: Buffer
  readonly fedAuth: FedAuthRequest | undefined
  /** OptionFlags1, OptionFlags2, TypeFlags, OptionFlags3. */
  readonly flags: readonly number[]
  /** The feature ids that the client asked for. */
  readonly features: readonly number[]
}

const FEATURE = { fedAuth: 0x02, end: 0xff } as const

/** The password is only obfuscated: nibbles swapped, then XOR 0xA5. */
function revealPassword(bytes: Buffer): string {
  const plain = Buffer.from(bytes.map((byte) => ((byte ^ 0xa5) << 4) | ((byte ^ 0xa5) >> 4)))
  return plain.toString('utf16le')
}

/** Whether the message is of TDS 7.0 or 7.1, which is shorter and has other tokens. */
export function isBefore72(data: Buffer): boolean {
  return [0x70, 0x71].includes(data[7] ?? 0)
}

export function readLogin7(data: Buffer): Login7 {
  const flags2 = data[25] ?? 0
  const typeFlags = data[26] ?? 0
  const flags3 = data[27] ?? 0
  const field = (position: number): Buffer => {
    const offset = data.readUInt16LE(position)
    return data.subarray(offset, offset + data.readUInt16LE(position + 2) * 2)
  }
  const text = (position: number): string => field(position).toString('utf16le')
  const sspiOffset = data.readUInt16LE(78)
  const sspiShort = data.readUInt16LE(80)
  const sspiLong = data.readUInt32LE(90)
  const sspiLength = sspiShort === 0xffff && sspiLong > 0 ? sspiLong : sspiShort
  const features = new Map<number, Buffer>()
  if ((flags3 & 0x10) !== 0) {
    let at = data.readUInt32LE(data.readUInt16LE(56))
    while (at < data.length && data[at] !== FEATURE.end) {
      const length = data.readUInt32LE(at + 1)
      features.set(data[at] ?? FEATURE.end, data.subarray(at + 5, at + 5 + length))
      at += 5 + length
    }
    if (data[at] !== FEATURE.end) throw new Error('LOGIN7: the list of features has no end')
  }
  if (data.readUInt32LE(0) !== data.length) throw new Error('LOGIN7: the length does not fit the message')
  const fedAuth = features.get(FEATURE.fedAuth)
  return {
    tdsVersion: data.readUInt32LE(4),
    packetSize: data.readUInt32LE(8),
    hostName: text(36),
    user: text(40),
    password: revealPassword(field(44)),
    applicationName: text(48),
    serverName: text(52),
    libraryName: text(60),
    clientVersion: data.readUInt32LE(12),
    clientId: Buffer.from(data.subarray(72, 78)),
    language: text(64),
    database: text(68),
    newPassword: (flags3 & 0x01) === 0 ? '' : revealPassword(field(86)),
    integratedSecurity: (flags2 & 0x80) !== 0,
    readOnlyIntent: (typeFlags & 0x20) !== 0,
    sspi: data.subarray(sspiOffset, sspiOffset + sspiLength),
    fedAuth: fedAuth === undefined ? undefined : readFedAuth(fedAuth),
    flags: [...data.subarray(24, 28)],
    features: [...features.keys()],
  }
}

function readFedAuth(data: Buffer): FedAuthRequest {
  const options = data[0] ?? 0
  const echo = (options & 1) !== 0
  switch (options >> 1) {
    case 1: {
      const length = data.readUInt32LE(1)
      return { data, library: 'security-token', echo, token: data.subarray(5, 5 + length).toString('utf16le') }
    }
    case 2:
      return { data, library: 'adal', echo, workflow: data[1] === 1 ? 'password' : 'integrated' }
    default:
      throw new Error(`LOGIN7: federated authentication by library ${options >> 1}`)
  }
}
