import assert from 'node:assert/strict'
import { test } from 'node:test'
import { COMMANDS } from '../../../src/cli/commands.ts'
import { EXIT_CODES, PHASE_EXIT_CODES } from '../../../src/cli/exit-codes.ts'
import { poolsmith } from '../../support/cli-in-process.ts'

test('every exit code stands for one thing', () => {
  const all = [...Object.values(PHASE_EXIT_CODES), ...Object.values(EXIT_CODES)]
  assert.equal(new Set(all).size, all.length)
})

test('help names every command and every exit code, fits 80 columns, and goes to standard output', async () => {
  const program = await poolsmith(['--help'])
  assert.equal(program.code, 0)
  assert.equal(program.log, '')
  for (const command of COMMANDS) {
    assert.match(program.out, new RegExp(`^  ${command.name} `, 'm'))
    const own = await poolsmith([command.name, '--help'])
    assert.deepEqual(await poolsmith(['help', command.name]), own)
    assert.equal(own.code, 0)
    for (const name of [...Object.keys(command.options), 'json', 'help'])
      assert.match(own.out, new RegExp(`--${name}\\b`))
    for (const line of own.out.split('\n')) assert.ok(line.length <= 80, line)
  }
  for (const [phase, code] of Object.entries(PHASE_EXIT_CODES)) {
    assert.match(program.out, new RegExp(`^  ${code} +${phase}: `, 'm'))
  }
  for (const line of program.out.split('\n')) assert.ok(line.length <= 80, line)
})

test('the exit code 75 names each command that ends with it', async () => {
  const names = COMMANDS.filter(({ saysTryAgain }) => saysTryAgain).map(({ name }) => name)
  assert.match((await poolsmith(['--help'])).out, new RegExp(`^  75 +${names.join(', ')}: `, 'm'))
})

test('--version prints the version of the package', async () => {
  assert.match((await poolsmith(['--version'])).out, /^\d+\.\d+\.\d+\n$/)
})

const wrongCommandLines: [string[], RegExp][] = [
  [[], /which command/],
  [['--wat'], /which command/],
  [['chek'], /unknown command chek; did you mean check\?/],
  [['check'], /<connection> is missing/],
  [['check', 'a', 'b'], /one argument too many: b/],
  [['check', 'a', '--wat'], /: unknown option --wat\.$/m],
  [['check', 'a', '--tracee'], /: unknown option --tracee; did you mean --trace\?$/m],
  [['check', 'a', '-x'], /: unknown option -x\.$/m],
  [['check', 'a', '--trace=yes'], /: --trace takes no value\.$/m],
  [['check', 'a', '--timeout'], /: --timeout needs a value/],
  [['check', 'a', '--timeout', '--trace'], /: --timeout needs a value/],
  [['ticket', 'statu'], /: <action> is one of: status, acquire.*; did you mean status\?$/m],
  [['ticket', 'run', '--updater', 'one'], /--updater expects one of lock, elected, process, got one\./],
  [['audit', 'verfy', 'a'], /: <action> is one of: verify; did you mean verify\?$/m],
  [['secrets', 'hunter2'], /: <action> is one of: list, get, set, remove, edit, new-key, rekey\.$/m],
  [['secrets', 'list', '--hunter2'], /: an option is unknown\.$/m],
  [['secrets', 'list', '--shw'], /: an option is unknown; did you mean --show\?$/m],
  [
    ['check', 'a', '--timeout', '0'],
    /--timeout expects a number of seconds greater than 0 and at most 2000000, got "0"/,
  ],
  [['check', 'a', '--timeout', '2147484'], /at most 2000000, got "2147484"/],
  [['check', 'a', '--timeout', 'soon'], /--timeout expects/],
]
for (const connection of [
  'host=db user=etl password=Zq9kWv3pLx7',
  'Server=db;User Id=etl;Password=Zq9kWv3pLx7',
  'etl:Zq9kWv3pLx7@db/sales',
]) {
  test(`an argument in the wrong place that may be a connection is not repeated (${connection.slice(0, 6)}…)`, async () => {
    for (const args of [
      [connection],
      ['check', 'sales', connection],
      ['connections', connection],
      ['extract', 'sales', 'flights', '--to', 'x', '--format', connection],
    ]) {
      for (const program of [await poolsmith(args), await poolsmith([...args, '--json'])]) {
        assert.equal(program.code, EXIT_CODES.usage)
        assert.match(program.log + program.out, /\[a connection\]/)
        assert.doesNotMatch(program.log + program.out, /Zq9/)
      }
    }
  })
}

for (const [args, complaint] of wrongCommandLines) {
  test(`a wrong command line (${args.join(' ')}) ends with code 2 and names the mistake`, async () => {
    const plain = await poolsmith(args)
    assert.equal(plain.code, EXIT_CODES.usage)
    assert.equal(plain.out, '')
    assert.match(plain.log, complaint)
    assert.match(plain.log, /See poolsmith.* --help/)

    const json = await poolsmith([...args, '--json'])
    assert.equal(json.code, EXIT_CODES.usage)
    assert.equal(json.log, '')
    const answer = JSON.parse(json.out)
    assert.equal(answer.ok, false)
    assert.equal(answer.exitCode, EXIT_CODES.usage)
    assert.equal(answer.error.code, 'USAGE')
  })
}

test('connections lists the configured connections, hides secrets and shows the problems of each', async () => {
  const environment = {
    POOLSMITH_CONN_SALES: 'postgres://etl:hunter2@db.example.com/sales?sslmode=verify-full',
    POOLSMITH_CONN_SLIP: 'postgres://etl:hunter2@db.example.com/sales?sslmod=require&pool_size=none',
    POOLSMITH_CONN_BROKEN: 'postgres://etl:hunter2@db.example.com:99999999/sales',
    POOLSMITH_CONN_STRANGE: 'postgres://etl:hunter2@db.example.com/sales?auth_method=magic',
  }
  const { code, out, log } = await poolsmith(['connections', '--json'], environment)
  assert.equal(code, 0)
  assert.equal(log, '')
  assert.doesNotMatch(out, /hunter2/)
  const answer = JSON.parse(out)
  const byId = Object.fromEntries(answer.connections.map((entry: { id: string }) => [entry.id.toLowerCase(), entry]))
  assert.deepEqual(byId.sales.problems, [])
  assert.equal(byId.sales.strategy, 'password')
  assert.match(byId.sales.uri, /^postgres:\/\/etl:\[secret\]@db\.example\.com/)
  assert.equal(byId.slip.problems.length, 2)
  assert.match(byId.slip.problems.join('\n'), /sslmod: .*did you mean sslmode\?/)
  assert.match(byId.broken.problems.join('\n'), /port/)
  assert.match(byId.strange.problems.join('\n'), /magic/)

  const text = (await poolsmith(['connections'], environment)).out
  assert.doesNotMatch(text, /hunter2/)
  assert.match(text, /did you mean sslmode/)
})

test('connections without any says how to configure one', async () => {
  const { code, out } = await poolsmith(['connections'], { POOLSMITH_CONNECTIONS_FILE: '/dev/null' })
  assert.equal(code, 0)
  assert.match(out, /No connection is configured\. Set POOLSMITH_CONN_<ID>/)
})

test('connections names a backend that cannot be listed where there is nothing else, and one that is wrong', async () => {
  const environment = { POOLSMITH_CONNECTIONS_FILE: '/dev/null', AIRFLOW__SECRETS__BACKEND: 'vault' }
  const known = { ...environment, AIRFLOW__SECRETS__BACKEND_KWARGS: '{"url": "https://vault.test:8200"}' }
  const { code, out } = await poolsmith(['connections'], known)
  assert.equal(code, 0)
  assert.match(out, /^stores: Vault vault\.test:8200 cannot be listed; it is asked for each connection by its id/)
  const wrong = await poolsmith(['connections'], { ...environment, AIRFLOW__SECRETS__BACKEND_KWARGS: '{' })
  assert.match(wrong.out, /AIRFLOW__SECRETS__BACKEND_KWARGS: is not valid JSON/)
  assert.doesNotMatch(`${out} ${wrong.out}`, /No connection is configured/)
})

test('a connections file that is not there is an error of the configuration', async () => {
  const { code, log } = await poolsmith(['connections', '--connections', '/nonexistent/connections.yaml'])
  assert.equal(code, PHASE_EXIT_CODES.config)
  assert.match(log, /failed at config \(CONFIG_INVALID\)[\s\S]*\/nonexistent\/connections\.yaml/)
  assert.match(log, /what to do +Check the path/)
})

test('a connection in the wrong place is not repeated: its password would end up in a log', async () => {
  const uri = 'postgres://etl:hunter2@db/sales'
  const json = '{"conn_type": "postgres", "password": "hunter2"}'
  const lines = [[uri], [json], ['check', 'sales', uri], ['check', 'sales', json], ['check', 'x', `--timeout=${uri}`]]
  for (const line of [...lines, ['check', 'x', '--timeout', json], ['extract', 'x', uri, '--to', 'y']]) {
    for (const args of [line, [...line, '--json']]) {
      const { code, out, log } = await poolsmith(args)
      assert.notEqual(code, 0)
      assert.notEqual(out + log, '')
      assert.doesNotMatch(out + log, /hunter2/, line.join(' '))
    }
  }
})
