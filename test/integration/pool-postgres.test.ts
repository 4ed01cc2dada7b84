import { poolSuite } from '../support/pool-suite.ts'
import { postgresSide } from '../support/sides/postgres.ts'

poolSuite(postgresSide)
