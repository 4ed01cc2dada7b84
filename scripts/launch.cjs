// Starts a task of this repository (`node scripts/launch.cjs test`) with a Node that can run it.
//
// It must run on any Node that a machine has, so it uses only syntax that Node 12 parses and Node's own modules. It
// installs the locked dependencies when node_modules does not match them, and runs the task with the Node among them.
// A failure is reported in one sentence.

'use strict'

const { spawn, spawnSync } = require('child_process')
const fs = require('fs')
const os = require('os')
const path = require('path')

const root = path.join(__dirname, '..')
const tasks = {
  test: 'scripts/test.ts',
  'test:unit': 'scripts/test.ts --unit',
  'test:interop': 'scripts/interop.ts',
  check: 'scripts/check.ts',
  demo: 'scripts/demo.ts',
  docs: 'scripts/generate-docs.ts',
  bench: 'bench/main.ts',
  soak: 'bench/soak/main.ts',
}
// The sources run without a build: Node strips the types, and V8 knows `await using`. Both need Node 24.
// (The built package needs less: see "engines".)
const oldestForSources = 24
const pinnedNode = path.join(root, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node')

function fail(sentence) {
  console.error('poolsmith: ' + sentence)
  process.exit(1)
}

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(path.join(root, file), 'utf8'))
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    return fail(file + ' cannot be read (' + error.message + '); restore it from the repository and try again.')
  }
}

/** Whether the installed packages match the lockfile. npm writes its record last, so half an install has none. */
function isInstalled(folder) {
  const lockfile = path.join(folder, 'package-lock.json')
  const lock = readJson(lockfile)
  if (lock === undefined) return fail(lockfile + ' is missing; restore it from the repository and try again.')
  const installed = readJson(path.join(folder, 'node_modules', '.package-lock.json'))
  if (installed === undefined) return false
  return Object.keys(lock.packages).every((name) => {
    const wanted = lock.packages[name]
    const found = installed.packages[name]
    if (name === '' || (found === undefined && (wanted.optional || wanted.devOptional || wanted.peer))) return true
    return found !== undefined && found.version === wanted.version
  })
}

/** Runs `npm ci` on the Node that npm itself came with: `npm ci` deletes the one in node_modules. */
function install(folder) {
  const env = Object.assign({}, process.env)
  env.PATH = (env.PATH || '')
    .split(path.delimiter)
    .filter((folder) => !folder.endsWith(path.join('node_modules', '.bin')))
    .join(path.delimiter)
  // With NODE_ENV=production npm would leave out what the tasks need.
  const args = ['ci', '--include=dev', '--no-fund', '--no-audit']
  const script = process.env.npm_execpath
  const insideNpm = script !== undefined && path.basename(script) === 'npm-cli.js' && fs.existsSync(script)
  const command = insideNpm ? process.env.npm_node_execpath || process.execPath : 'npm'
  const before = insideNpm ? [script] : []
  const options = {
    cwd: path.join(root, folder),
    env: env,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    shell: process.platform === 'win32' && !insideNpm,
  }

  const version = spawnSync(command, before.concat('--version'), options)
  if (version.error || version.status !== 0) {
    fail('npm was not found; install Node.js with npm (https://nodejs.org) and try again.')
  }
  if (parseInt(version.stdout, 10) < 7) {
    fail(
      'npm ' +
        version.stdout.trim() +
        ' is too old to read package-lock.json; install Node.js 22 or newer and try again.',
    )
  }
  console.error('Installing the locked dependencies (npm ci' + (folder === '.' ? '' : ' in ' + folder) + ') ...')
  const result = spawnSync(command, before.concat(args), options)
  if (result.error || result.status !== 0) {
    console.error((result.stdout || '') + (result.stderr || ''))
    fail(
      'npm ci failed' +
        (result.error ? ' (' + result.error.message + ')' : '') +
        '; mend what npm says above and try again.',
    )
  }
}

/** The Node to run tasks with: the pinned one, so that every machine runs the same, else this one if it is new enough. */
function findNode() {
  const pinned = spawnSync(pinnedNode, ['--version'], { encoding: 'utf8' })
  if (pinned.status === 0) return pinnedNode
  if (parseInt(process.versions.node, 10) >= oldestForSources) return process.execPath
  return fail(
    'Node ' +
      process.versions.node +
      ' is too old to run the sources and the pinned Node is not there, because npm left out ' +
      'install scripts (--ignore-scripts) or has none for this platform; run `npm rebuild node`, or install Node.js ' +
      oldestForSources +
      ' or newer.',
  )
}

const task = process.argv[2]
if (task === 'install') {
  // `launch.cjs install FOLDER`: dependencies with a lockfile of their own, which few tests need.
  if (!isInstalled(process.argv[3])) install(process.argv[3])
  process.exit(0)
}
const found = Object.keys(tasks).indexOf(task) === -1 ? undefined : tasks[task]
if (found === undefined) fail('unknown task ' + task + '; the tasks are ' + Object.keys(tasks).join(', ') + '.')
if (!isInstalled('.')) install('.')
const command = found.split(' ')
const node = findNode()
const env = Object.assign({}, process.env)
env.PATH = path.dirname(node) + path.delimiter + (env.PATH || '')
const args = [path.join(root, command[0])].concat(command.slice(1), process.argv.slice(3))
const child = spawn(node, args, {
  cwd: root,
  env: env,
  stdio: 'inherit',
})
process.on('SIGINT', () => {
  // Ctrl-C reaches the whole process group: the task cleans up, and this process waits for that.
})
process.on('SIGTERM', () => child.kill('SIGTERM'))
process.on('SIGHUP', () => child.kill('SIGHUP'))
child.on('error', (error) => fail(node + ' could not be started: ' + error.message + '.'))
child.on('exit', (code, signal) => {
  process.exitCode = signal === null ? code : 128 + os.constants.signals[signal]
})
