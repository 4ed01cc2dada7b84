import { chmod, chown, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { IssuedCertificate } from './pki.ts'
import type { PostgresServer } from './postgres.ts'

/** Gives a server another certificate, as an administrator does: files, then reload. */
export async function serveCertificate(server: PostgresServer, { cert, key }: IssuedCertificate): Promise<void> {
  for (const [name, content] of [
    ['server.crt', cert],
    ['server.key', key],
  ] as const) {
    const path = join(server.dataDirectory, name)
    const { uid, gid } = await stat(path)
    await writeFile(path, content)
    await chown(path, uid, gid)
    await chmod(path, 0o600)
  }
  await server.reload()
}
