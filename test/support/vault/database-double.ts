/** The database engine of the double: it runs the statements of its roles on a real PostgreSQL. */

import { randomBytes } from 'node:crypto'
import pg from 'pg'
import type { Asked, Reply } from './server.ts'

interface Lease {
  readonly user: string
  readonly token: string
  readonly lifeMillis: number
  readonly maxEndsAt: number
  endsAt: number
  timer: NodeJS.Timeout
}

interface StaticRole {
  readonly user: string
  readonly periodMillis: number
  password: string
  nextAt: number
  timer: NodeJS.Timeout
}

const ok = (body: Record<string, unknown>): Reply => ({ status: 200, body })
const bad = (message: string): Reply => ({ status: 400, body: { errors: [message] } })

export class DatabaseEngine {
  readonly #leases = new Map<string, Lease>()
  readonly #roles = new Map<string, Record<string, unknown>>()
  readonly #static = new Map<string, StaticRole>()
  #server: { url: string; username: string; password: string } | undefined
  #work: Promise<unknown> = Promise.resolve()

  /** Undefined for a path that is not the engine's. */
  async answer({ path, body }: Pick<Asked, 'path' | 'body'>, token: string): Promise<Reply | undefined> {
    const [, kind, name = ''] = /^database\/([\w-]+)\/([\w-]+)$/.exec(path) ?? []
    switch (kind ?? path) {
      case 'config':
        this.#server = {
          url: String(body.connection_url),
          username: String(body.username),
          password: String(body.password),
        }
        return { status: 204 }
      case 'roles':
        this.#roles.set(name, body)
        return { status: 204 }
      case 'creds':
        return this.#make(name, token)
      case 'static-roles':
        return this.#makeStatic(name, body)
      case 'static-creds': {
        const role = this.#static.get(name)
        if (role === undefined) return bad(`unknown role: ${name}`)
        const ttl = Math.max(0, Math.round((role.nextAt - Date.now()) / 1000))
        return ok({ data: { username: role.user, password: role.password, ttl } })
      }
      case 'sys/leases/renew':
        return this.#renew(String(body.lease_id), Number(body.increment))
      case 'sys/leases/revoke':
        await this.#revoke(String(body.lease_id))
        return { status: 204 }
      default:
        return undefined
    }
  }

  /** Leases end with their token. */
  async revokeOf(token: string): Promise<void> {
    for (const [id, lease] of [...this.#leases]) if (lease.token === token) await this.#revoke(id)
  }

  close(): void {
    for (const { timer } of [...this.#leases.values(), ...this.#static.values()]) clearTimeout(timer)
  }

  async #make(name: string, token: string): Promise<Reply> {
    const role = this.#roles.get(name)
    if (role === undefined) return bad(`unknown role: ${name}`)
    const user = `v-${name}-${randomBytes(6).toString('hex')}`
    const password = randomBytes(12).toString('base64url')
    const lifeMillis = Number.parseInt(String(role.default_ttl), 10) * 1000
    const maxEndsAt = Date.now() + Number.parseInt(String(role.max_ttl), 10) * 1000
    const endsAt = Date.now() + lifeMillis
    const expiration = new Date(endsAt).toISOString()
    for (const statement of [role.creation_statements].flat()) {
      await this.#sql(
        String(statement)
          .replaceAll('{{name}}', user)
          .replaceAll('{{password}}', password)
          .replaceAll('{{expiration}}', expiration),
      )
    }
    const id = `database/creds/${name}/${randomBytes(8).toString('hex')}`
    this.#leases.set(id, { user, token, lifeMillis, maxEndsAt, endsAt, timer: this.#ending(id, lifeMillis) })
    return ok({
      lease_id: id,
      lease_duration: lifeMillis / 1000,
      renewable: true,
      data: { username: user, password },
    })
  }

  #ending(id: string, millis: number): NodeJS.Timeout {
    return setTimeout(() => void this.#revoke(id), millis).unref()
  }

  async #renew(id: string, seconds: number): Promise<Reply> {
    const lease = this.#leases.get(id)
    if (lease === undefined) return bad('lease not found')
    const millis = Math.min(seconds * 1000, lease.maxEndsAt - Date.now())
    clearTimeout(lease.timer)
    lease.timer = this.#ending(id, millis)
    lease.endsAt = Date.now() + millis
    await this.#sql(`alter role "${lease.user}" valid until '${new Date(lease.endsAt).toISOString()}'`)
    return ok({ lease_id: id, lease_duration: Math.round(millis / 1000), renewable: true })
  }

  async #revoke(id: string): Promise<void> {
    const lease = this.#leases.get(id)
    if (lease === undefined) return
    this.#leases.delete(id)
    clearTimeout(lease.timer)
    await this.#sql(`drop role if exists "${lease.user}"`)
  }

  async #makeStatic(name: string, body: Record<string, unknown>): Promise<Reply> {
    const periodMillis = Number.parseInt(String(body.rotation_period), 10) * 1000
    const role: StaticRole = {
      user: String(body.username),
      periodMillis,
      password: '',
      nextAt: 0,
      timer: setTimeout(() => undefined),
    }
    this.#static.set(name, role)
    await this.#rotate(role)
    return { status: 204 }
  }

  async #rotate(role: StaticRole): Promise<void> {
    const password = randomBytes(12).toString('base64url')
    // No login is decided between the two: the server's lock holds logins back.
    await this.#sql(
      `begin; lock table pg_authid in access exclusive mode; alter role "${role.user}" password '${password}'`,
      () => {
        role.password = password
      },
    )
    role.nextAt = Date.now() + role.periodMillis
    role.timer = setTimeout(() => void this.#rotate(role), role.periodMillis).unref()
  }

  /** One after the other, on a session of its own. @param before is called before the commit */
  #sql(statement: string, before?: () => void): Promise<void> {
    const run = async (): Promise<void> => {
      const { url = '', username, password } = this.#server ?? {}
      const { hostname, port, pathname } = new URL(url.replace('{{username}}:{{password}}@', ''))
      const client = new pg.Client({
        host: hostname,
        port: Number(port),
        database: pathname.slice(1),
        user: username,
        password,
      })
      await client.connect()
      try {
        await client.query(statement)
        before?.()
        if (before !== undefined) await client.query('commit')
      } finally {
        await client.end()
      }
    }
    // The server may have been stopped before the last leases end.
    const next = this.#work.then(run, run)
    this.#work = next.catch(() => undefined)
    return next.catch((error: unknown) => {
      if (this.#server !== undefined && statement.startsWith('drop')) return
      throw error
    })
  }
}
