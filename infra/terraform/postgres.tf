resource "random_password" "store" {
  length  = 40
  special = false
}

resource "aws_db_subnet_group" "store" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_security_group" "store" {
  name        = "${var.name}-store"
  description = "Postgres of ${var.name}: who reaches it is in its rules"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "store_from_function" {
  security_group_id            = aws_security_group.store.id
  referenced_security_group_id = aws_security_group.function.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_ingress_rule" "store_from_operator" {
  count                        = var.operator_security_group_id == null ? 0 : 1
  security_group_id            = aws_security_group.store.id
  referenced_security_group_id = var.operator_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_db_parameter_group" "store" {
  name   = var.name
  family = "postgres17"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  # An answer leaves after the commit is on disk, on both of them.
  parameter {
    name  = "synchronous_commit"
    value = "on"
  }
}

resource "aws_db_instance" "store" {
  identifier                  = var.name
  engine                      = "postgres"
  engine_version              = "17"
  instance_class              = var.db_instance_class
  allocated_storage           = 20
  max_allocated_storage       = 500
  storage_type                = "gp3"
  storage_encrypted           = true
  db_name                     = "countersign"
  username                    = "countersign"
  password                    = random_password.store.result
  multi_az                    = var.db_multi_az
  db_subnet_group_name        = aws_db_subnet_group.store.name
  vpc_security_group_ids      = [aws_security_group.store.id]
  parameter_group_name        = aws_db_parameter_group.store.name
  publicly_accessible         = false
  backup_retention_period     = 14
  copy_tags_to_snapshot       = true
  deletion_protection         = true
  auto_minor_version_upgrade  = true
  allow_major_version_upgrade = false
  skip_final_snapshot         = false
  final_snapshot_identifier   = "${var.name}-last"
}
