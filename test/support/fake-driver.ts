/** A driver and a credential source without a database, scripted by the test, for the pool's own logic. */

import type { Credential, CredentialSource } from '../../src/credentials/credential.ts'
import { sameSecret } from '../../src/credentials/same-secret.ts'
import type { Driver, OpenContext, SessionInfo } from '../../src/drivers/driver.ts'
import { Secret } from '../../src/secret.ts'

export class FakeConnection {
  readonly id: number
  readonly credential: Credential
  broken = false
  /** Something to clean up on return. */
  dirty = false
  /** `closed` after an orderly close, `aborted` after a cut. */
  end: 'closed' | 'aborted' | undefined
  onEnd: (() => void) | undefined

  constructor(id: number, credential: Credential) {
    this.id = id
    this.credential = credential
  }

  /** The server ends it. */
  kill(): void {
    this.broken = true
    this.onEnd?.()
  }
}

/** Each method can be replaced by the test. */
export class FakeDriver implements Driver<FakeConnection> {
  readonly connections: FakeConnection[] = []
  opens = 0
  pings = 0
  resets: string[] = []

  /** Throw or hang in here to make opening fail or hang. */
  onOpen: (credential: Credential, context: OpenContext) => Promise<void> | void = () => undefined
  onPing: (raw: FakeConnection) => Promise<void> | void = () => undefined
  onReset: (raw: FakeConnection) => Promise<void> | void = () => undefined
  onClose: (raw: FakeConnection) => Promise<void> | void = () => undefined

  async open(credential: Credential, context: OpenContext): Promise<FakeConnection> {
    this.opens++
    await this.onOpen(credential, context)
    const connection = new FakeConnection(this.connections.length + 1, credential)
    this.connections.push(connection)
    return connection
  }

  async ping(raw: FakeConnection): Promise<void> {
    this.pings++
    await this.onPing(raw)
  }

  needsReset(raw: FakeConnection): boolean {
    return raw.dirty
  }

  async reset(raw: FakeConnection, mode: 'rollback' | 'full'): Promise<void> {
    this.resets.push(mode)
    await this.onReset(raw)
    raw.dirty = false
  }

  async close(raw: FakeConnection): Promise<void> {
    await this.onClose(raw)
    raw.end ??= 'closed'
  }

  abort(raw: FakeConnection): void {
    raw.end ??= 'aborted'
  }

  isBroken(raw: FakeConnection): boolean {
    return raw.broken || raw.end !== undefined
  }

  info(raw: FakeConnection): SessionInfo {
    return {
      user: 'etl',
      database: 'analytics',
      peer: `fake:${raw.id}`,
      serverVersion: '0',
      authentication: 'none',
      encryption: { kind: 'none' },
      timings: { login: 1 },
    }
  }

  onEnd(raw: FakeConnection, listener: () => void): void {
    if (this.isBroken(raw)) listener()
    else raw.onEnd = listener
  }

  /** The sessions that are neither closed nor aborted. */
  get alive(): FakeConnection[] {
    return this.connections.filter((connection) => connection.end === undefined)
  }
}

export function passwordCredential(password: string, extra: { expiresAt?: number } = {}): Credential {
  return { kind: 'password', identity: 'etl', password: new Secret(password), issuedAt: Date.now(), ...extra }
}

/** A credential source whose answers the test sets. */
export class FakeSource implements CredentialSource {
  credential: Credential | undefined
  /** The answer of `get` when there is no current credential. */
  onGet: (signal?: AbortSignal) => Promise<Credential> = async () => {
    throw new Error('the test gave no credential')
  }
  asked = 0
  gets = 0
  closed = false
  readonly rejected: Credential[] = []
  canReplace = false
  readonly #listeners = new Set<(credential: Credential) => void>()

  constructor(credential: Credential | undefined = passwordCredential('first')) {
    this.credential = credential
  }

  current(): Credential | undefined {
    this.asked++
    return this.credential
  }

  async get(signal?: AbortSignal): Promise<Credential> {
    this.gets++
    this.credential ??= await this.onGet(signal)
    return this.credential
  }

  reject(credential: Credential): boolean {
    this.rejected.push(credential)
    if (this.canReplace && this.credential !== undefined && sameSecret(credential, this.credential)) {
      this.credential = undefined
    }
    return this.canReplace
  }

  onChange(listener: (credential: Credential) => void): () => void {
    this.#listeners.add(listener)
    return () => {
      this.#listeners.delete(listener)
    }
  }

  get listeners(): number {
    return this.#listeners.size
  }

  change(credential: Credential): void {
    this.credential = credential
    for (const listener of this.#listeners) listener(credential)
  }

  close(): void {
    this.closed = true
  }
}
