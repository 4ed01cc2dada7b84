import { crc32c } from '../../../src/stores/google/crc32c.ts'

/** An error of Google's, by its status and name. */
export class GoogleRefusal extends Error {
  override readonly name: string
  readonly status: number

  constructor(status: number, name: string, message: string) {
    super(message)
    this.status = status
    this.name = name
  }
}

interface Version {
  readonly bytes: Buffer
  state: 'ENABLED' | 'DISABLED' | 'DESTROYED'
}

const notFound = (what: string): GoogleRefusal => new GoogleRefusal(404, 'NOT_FOUND', `${what} not found.`)

/** The secrets of Secret Manager, by the names of their resources: `projects/sales-prod/secrets/db`. */
export class GoogleSecrets {
  readonly #secrets = new Map<string, Version[]>()
  /** Spoils the payload of the answers on the way. */
  isDamaged = false

  put(secret: string, content: string | Buffer): number {
    const versions = this.#secrets.get(secret) ?? []
    versions.push({ bytes: Buffer.from(content), state: 'ENABLED' })
    this.#secrets.set(secret, versions)
    return versions.length
  }

  set(secret: string, version: number, state: Version['state']): void {
    const found = this.#secrets.get(secret)?.[version - 1]
    if (found !== undefined) found.state = state
  }

  answer(method: string, { pathname, searchParams }: URL, body: string): object {
    const path = pathname.replace(/^\/v1\//, '')
    const access = /^(.+\/secrets\/[^/]+)\/versions\/([^/]+):access$/.exec(path)
    if (method === 'GET' && access !== null) return this.#access(access[1] ?? '', access[2] ?? '')
    const adding = /^(.+\/secrets\/[^/]+):addVersion$/.exec(path)
    if (method === 'POST' && adding !== null) return this.#add(adding[1] ?? '', body)
    if (method === 'POST' && path.endsWith('/secrets')) {
      const name = `${path}/${searchParams.get('secretId')}`
      if (this.#secrets.has(name)) throw new GoogleRefusal(409, 'ALREADY_EXISTS', `Secret [${name}] already exists.`)
      this.#secrets.set(name, [])
      return { name, replication: (JSON.parse(body) as { replication?: unknown }).replication }
    }
    throw notFound(path)
  }

  /** `latest` is the newest version, also one that is disabled. */
  #access(secret: string, given: string): object {
    const versions = this.#secrets.get(secret)
    if (versions === undefined) throw notFound(`Secret [${secret}]`)
    const number = given === 'latest' ? versions.length : Number(given)
    const version = versions[number - 1]
    const name = `${secret}/versions/${number}`
    if (version === undefined) throw notFound(`Secret Version [${name}]`)
    if (version.state !== 'ENABLED') {
      throw new GoogleRefusal(400, 'FAILED_PRECONDITION', `Secret Version [${name}] is in ${version.state} state.`)
    }
    const dataCrc32c = String(crc32c(version.bytes))
    const bytes = this.isDamaged ? Buffer.from('damaged on the way') : version.bytes
    return { name, payload: { data: bytes.toString('base64'), dataCrc32c } }
  }

  #add(secret: string, body: string): object {
    if (!this.#secrets.has(secret)) throw notFound(`Secret [${secret}]`)
    const { payload } = JSON.parse(body) as { payload: { data: string; dataCrc32c: string } }
    const bytes = Buffer.from(payload.data, 'base64')
    if (payload.dataCrc32c !== String(crc32c(bytes))) {
      throw new GoogleRefusal(400, 'INVALID_ARGUMENT', 'The checksum does not match the data.')
    }
    return { name: `${secret}/versions/${this.put(secret, bytes)}`, createTime: new Date().toISOString() }
  }
}
