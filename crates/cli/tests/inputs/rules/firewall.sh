#!/bin/sh
IPT=/sbin/iptables
LAN="192.168.1.0/24"
$IPT -F
$IPT -P INPUT DROP          # nothing comes in
$IPT -A INPUT -i lo -j ACCEPT
$IPT -A INPUT -s "$LAN" -p tcp \
    --dport ssh -j ACCEPT
ip6tables -P INPUT DROP
