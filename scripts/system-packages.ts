/** The programs from outside npm that the tests run, the tests that need them, and their installation. */

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { basename, join, relative, resolve } from 'node:path'

export interface SystemPackage {
  /** The name in Debian. */
  readonly name: string
  /** A file that exists when it is installed, from any source. */
  readonly file: string
  readonly neededFor: string
  /**
   * How a test, or a module that it imports, names the program. Default: the name of `file` as a text of its own, as in
   * `'curl'` or `'/usr/bin/curl'`.
   */
  readonly mark?: RegExp
}

/** The one list: a test that needs another program adds its package here. */
export const systemPackages: readonly SystemPackage[] = [
  {
    name: 'postgresql-15',
    file: '/usr/lib/postgresql/15/bin/postgres',
    neededFor: 'a server with GSSAPI, LDAP and PAM, and psql',
    mark: /'debian'|(?<!function )\bpsql\(/,
  },
  {
    name: 'postgresql-15-postgis-3',
    file: '/usr/share/postgresql/15/extension/postgis.control',
    neededFor: 'its types for places',
    mark: /create extension postgis/,
  },
  { name: 'krb5-kdc', file: '/usr/sbin/krb5kdc', neededFor: 'a Kerberos realm' },
  { name: 'krb5-admin-server', file: '/usr/sbin/kadmin.local', neededFor: 'its principals and keytabs' },
  { name: 'krb5-user', file: '/usr/bin/kinit', neededFor: 'its tickets', mark: /'k(init|list|destroy|tutil)'/ },
  { name: 'gssproxy', file: '/usr/sbin/gssproxy', neededFor: 'a daemon that keeps keytabs and tickets for others' },
  { name: 'faketime', file: '/usr/bin/faketime', neededFor: 'a KDC whose clock is wrong' },
  { name: 'squid', file: '/usr/sbin/squid', neededFor: 'an HTTP proxy that asks for a login' },
  { name: 'curl', file: '/usr/bin/curl', neededFor: 'a client of it that is not ours' },
  { name: 'openssl', file: '/usr/bin/openssl', neededFor: 'the password file of that proxy' },
  {
    name: 'freetds-bin',
    file: '/usr/bin/tsql',
    neededFor: 'a client for SQL Server that is not ours',
    mark: /(?<!function )\btsql\(/,
  },
  {
    name: 'python3-msal',
    file: '/usr/lib/python3/dist-packages/msal/wstrust_request.py',
    neededFor: "Microsoft's own client of a federated domain, to check the test double of one",
    mark: /msal_client/,
  },
  { name: 'mono-mcs', file: '/usr/bin/mcs', neededFor: "a compiler for the test client on Microsoft's SqlClient" },
  {
    name: 'libmono-system-data4.0-cil',
    file: '/usr/lib/mono/4.5/System.Data.dll',
    neededFor: "Microsoft's SqlClient",
    mark: /'mcs'/,
  },
  {
    name: 'libmono-i18n-west4.0-cil',
    file: '/usr/lib/mono/4.5/I18N.West.dll',
    neededFor: 'the code page of its names',
    mark: /'mcs'/,
  },
  { name: 'xmlsec1', file: '/usr/bin/xmlsec1', neededFor: 'signatures in XML, verified by a program that is not ours' },
  {
    name: 'python3',
    file: '/usr/bin/python3',
    neededFor: "an example's DAG of Airflow",
    mark: /'\/usr\/bin\/python3'/,
  },
  { name: 'pgbouncer', file: '/usr/sbin/pgbouncer', neededFor: 'a pooler between us and PostgreSQL' },
  { name: 'pgpool2', file: '/usr/sbin/pgpool', neededFor: 'another pooler, with another way of speaking' },
  { name: 'haproxy', file: '/usr/sbin/haproxy', neededFor: 'a load balancer before the database' },
  { name: 'redis-server', file: '/usr/bin/redis-server', neededFor: 'a queue of BullMQ' },
  { name: 'etcd-server', file: '/usr/bin/etcd', neededFor: 'the data of a Kubernetes API server' },
  {
    name: 'iproute2',
    file: '/sbin/ip',
    neededFor: 'a network of the tests that can be cut',
    mark: /'netns'/,
  },
  {
    name: 'procps',
    file: '/bin/ps',
    neededFor: "finding a server's processes, to freeze them",
    mark: /'ps'|(?<!gate|kdc|kcm|Object)\.freeze\(/,
  },
]

/**
 * Installs without side effects on the machine: no daemon is started and no database cluster is made.
 * The files that prevent this are removed again.
 */
const installScript = `
set -eu
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/poolsmith.conf
tidy() { rm -f "$cluster"; [ -z "\${own_policy:-}" ] || rm -f "$policy"; }
trap tidy EXIT
if [ ! -e "$policy" ]; then
  own_policy=1
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod 755 "$policy"
fi
mkdir -p "$(dirname "$cluster")"
echo 'create_main_cluster = false' > "$cluster"
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=300 update
apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
`

/** The modules that start every PostgreSQL name all builds; a test names the one that it wants. */
const NAME_ALL = new Set(['postgres.ts', 'postgres-builds.ts'].map((file) => join('test', 'support', file)))

function mentions(closure: ReadonlySet<string>, mark: RegExp): boolean {
  const tests = [...closure].filter((file) => {
    const path = relative(resolve(import.meta.dirname, '..'), file)
    return path.startsWith('test') && !NAME_ALL.has(path)
  })
  return tests.some((file) => mark.test(readFileSync(file, 'utf8')))
}

/** @param closure test files with all that they import */
export function systemPackagesFor(closure: ReadonlySet<string>): SystemPackage[] {
  return systemPackages.filter(({ file, mark = named(basename(file)) }) => mentions(closure, mark))
}

function named(program: string): RegExp {
  return new RegExp(`['"\`]([\\w/.-]*/)?${program.replaceAll('.', '\\.')}['"\`]`)
}

/** Folders of npm packages with a lockfile of their own, which few tests need. */
const ownLockfiles: readonly { readonly folder: string; readonly mark: RegExp }[] = [
  // PostgreSQL 13, for Linux on x64 alone.
  { folder: 'test/support/postgres-13', mark: /'embedded-13'/ },
  { folder: 'test/support/runtimes', mark: /'support', 'runtimes'/ },
  { folder: 'examples/layers', mark: /'examples', 'layers'/ },
  { folder: 'examples/telemetry', mark: /'examples', 'telemetry'/ },
]

/** @param closure test files with all that they import */
export function lockfilesFor(closure: ReadonlySet<string>): string[] {
  return ownLockfiles.filter(({ mark }) => mentions(closure, mark)).map(({ folder }) => folder)
}

function missingOf(wanted: readonly SystemPackage[]): SystemPackage[] {
  return wanted.filter((entry) => !existsSync(entry.file))
}

/** How to become root without a prompt, or undefined. */
function rootPrefix(): string[] | undefined {
  if (process.getuid?.() === 0) return []
  return spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0 ? ['sudo', '-n'] : undefined
}

/**
 * Installs the programs that are missing.
 *
 * @returns undefined when all are installed, else one sentence that says what is missing and what to do. Never a reason
 * to skip a test.
 */
export function ensureSystemPackages(needed: readonly SystemPackage[]): string | undefined {
  const missing = missingOf(needed)
  if (missing.length === 0) return undefined
  const names = missing.map((entry) => entry.name)
  const wanted = missing.map((entry) => `${entry.name} (${entry.neededFor})`).join(', ')
  const byHand = `apt-get install ${names.join(' ')}`

  if (!existsSync('/usr/bin/apt-get')) {
    return `These tests need ${wanted}, and this system has no apt-get; run them on Debian 12. \`npm run test:unit\` needs none of them.`
  }
  const prefix = rootPrefix()
  if (prefix === undefined) {
    return `These tests need ${wanted}, and this user may not install packages; as root, run: ${byHand}`
  }
  console.error(`Installing Debian packages: ${names.join(' ')} ...`)
  const [command = 'sh', ...args] = [...prefix, 'sh', '-c', installScript, 'sh', ...names]
  const result = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  const still = missingOf(needed).map((entry) => entry.name)
  if (result.status === 0 && still.length === 0) return undefined
  process.stderr.write(`${result.stdout}${result.stderr}`)
  return result.status === 0
    ? `apt-get installed ${still.join(' ')}, but not where the tests look for it; run them on Debian 12.`
    : `apt-get could not install ${names.join(' ')}: mend what it says above, or install them by hand (${byHand}).`
}
